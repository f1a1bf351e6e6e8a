// The gateway through a modem of this machine: the files service of gammu-smsd (Debian package
// gammu-smsd). An SMS is a file in its outbox; gammu moves it to sent or error, and writes the
// network's delivery report into its inbox. Nothing else is ever touched in these folders.
//
//   outbox/OUTC20261121_150003_00_+436601234567_lk{id}x{expires}.smsbackup
//       id and expires are 16 and 12 hex digits; expires, in milliseconds, 0: never
//   inbox/IN20261121_150010_00_+436601234567_00.txt     PDU = Status_Report
//
// What waits is in these names, so that a bridge that starts again goes on with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "bridge/sms.h"
#include "proto/time.h"

namespace latchkey::bridge {

// As in gammu-smsdrc; four different folders. An empty inbox: delivery is never reported.
struct GammuFolders {
  std::filesystem::path outbox;
  std::filesystem::path sent;
  std::filesystem::path error;
  std::filesystem::path inbox;
};

// The file's name in the outbox. `serial`, 0 to 99, orders those of one second.
std::string GammuName(const SendSms& sms, Timestamp now, unsigned serial);
// And its content: gammu's backup format, the only one in which it sends 8-bit data.
std::string GammuText(const SendSms& sms);

// What such a name says; nullopt: it is not one of ours.
struct GammuSms {
  uint64_t id = 0;
  std::string number;
  std::optional<Timestamp> expires_at;
};

std::optional<GammuSms> ReadGammuName(std::string_view name);

// The network's reference of a sent SMS, as gammu noted it in its file.
std::optional<int> ReadGammuReference(std::string_view text);

// A delivery report out of the inbox, in any InboxFormat; nullopt: it is none.
struct GammuReport {
  std::string number;
  std::optional<int> reference;         // InboxFormat = detail alone tells it
  std::optional<SmsReport::What> what;  // nullopt: the network still tries
};

std::optional<GammuReport> ReadGammuReport(std::string_view name, std::string_view text);

class GammuGateway final : public SmsWorker {
 public:
  GammuGateway(GammuFolders folders, SmsReportSink sink,
               Duration look_every = std::chrono::seconds(1));
  ~GammuGateway() override;
  GammuGateway(const GammuGateway&) = delete;
  GammuGateway& operator=(const GammuGateway&) = delete;

 private:
  struct Waiting {
    GammuSms sms;
    bool sent = false;
    std::optional<int> reference;
    Timestamp sent_at;
  };

  using WaitingMap = std::map<std::string, Waiting>;  // by name, so oldest first

  void Carry(const SendSms& sms) override;
  void Look() override;
  void Adopt(const std::filesystem::path& folder, bool sent);
  // False: it is over.
  bool Follow(const std::string& name, Waiting& one, Timestamp now);
  void ReadInbox();
  void TakeReport(const std::filesystem::path& path, const GammuReport& report);
  WaitingMap::iterator Find(const GammuReport& report);

  const GammuFolders folders_;
  WaitingMap waiting_;
  std::map<std::string, bool> inbox_;  // names seen in it; true: needs no second look
  unsigned serial_ = 0;
};

}  // namespace latchkey::bridge
