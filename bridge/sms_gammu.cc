// See sms_gammu.h. A move within one file system is all that gammu and we do to a file that the
// other can see, so nobody reads half a file.
#include "bridge/sms_gammu.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".smsbackup";
constexpr size_t kIdDigits = 16;
constexpr size_t kExpiryDigits = 12;
constexpr size_t kHexPerLine = 200;
constexpr size_t kInboxBytesMax = 8192;
constexpr size_t kWaitingMax = 10000;
constexpr Duration kReportWait = std::chrono::hours(24);  // after sending: no report comes any more
constexpr mode_t kShared = 0660;  // gammu-smsd may be another user of the folder's group

Timestamp WallNow() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

std::string Hex(uint64_t value, size_t digits) {
  std::string text(digits, '0');
  for (size_t at = digits; at > 0 && value != 0; value >>= 4) {
    text[--at] = "0123456789abcdef"[value & 0xf];
  }
  return text;
}

std::string HexOf(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += Hex(static_cast<uint8_t>(byte), 2);
  }
  return text;
}

template <class T>
std::optional<T> Number(std::string_view text, int base) {
  T value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty()
             ? std::optional<T>(value)
             : std::nullopt;
}

std::vector<std::string_view> Split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t from = 0; from <= text.size();) {
    const size_t to = std::min(text.find(at, from), text.size());
    parts.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return parts;
}

// Value of the first line `name = value`.
std::optional<std::string_view> Value(std::string_view text, std::string_view name) {
  for (std::string_view line : Split(text, '\n')) {
    if (!line.empty() && line.back() == '\r') {
      line.remove_suffix(1);
    }
    if (line.substr(0, name.size()) == name && line.substr(name.size(), 3) == " = ") {
      return line.substr(name.size() + 3);
    }
  }
  return std::nullopt;
}

// The letters of a text in UTF-16 or plain, which are ASCII in a report.
std::string Letters(std::string_view text) {
  std::string letters;
  std::copy_if(text.begin(), text.end(), std::back_inserter(letters),
               [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
  return letters;
}

// Of UTF-16 in hex, as the backup format has it.
std::string LettersOfHex(std::string_view hex) {
  std::string text;
  for (size_t at = 0; at + 2 <= hex.size(); at += 2) {
    text += static_cast<char>(Number<uint8_t>(hex.substr(at, 2), 16).value_or(0));
  }
  return Letters(text);
}

std::string ReadUpTo(const fs::path& path, size_t most) {
  std::ifstream file(path, std::ios::binary);
  std::string text(most, '\0');
  file.read(text.data(), static_cast<std::streamsize>(most));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

void RemoveFile(const fs::path& path) {
  std::error_code ignored;  // another user's folder: it stays, and is not read again
  fs::remove(path, ignored);
}

// Whole or not at all. The text of an error names no file: the name has the number in it.
std::optional<std::string> WriteWhole(const fs::path& path, const fs::path& hidden,
                                      std::string_view text) {
  const int file = ::open(hidden.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kShared);
  if (file < 0) {
    return std::generic_category().message(errno);
  }
  static_cast<void>(::fchmod(file, kShared));  // what the umask took; gammu says if it cannot
  const ssize_t written = ::write(file, text.data(), text.size());
  int why = written == static_cast<ssize_t>(text.size()) ? 0 : written < 0 ? errno : ENOSPC;
  why = ::close(file) != 0 && why == 0 ? errno : why;
  if (why == 0 && ::rename(hidden.c_str(), path.c_str()) != 0) {
    why = errno;
  }
  if (why != 0) {
    ::unlink(hidden.c_str());
    return std::generic_category().message(why);
  }
  return std::nullopt;
}

}  // namespace

std::string GammuName(const SendSms& sms, Timestamp now, unsigned serial) {
  const std::time_t seconds = now.ms / 1000;
  std::tm date{};
  ::gmtime_r(&seconds, &date);
  std::array<char, 32> text{};
  const size_t length = std::strftime(text.data(), text.size(), "%Y%m%d_%H%M%S", &date);
  const std::string two = std::to_string(serial % 100);
  return "OUTC" + std::string(text.data(), length) + "_" + (two.size() < 2 ? "0" : "") + two + "_" +
         sms.number + "_lk" + Hex(sms.id, kIdDigits) + "x" +
         Hex(sms.expires_at ? static_cast<uint64_t>(sms.expires_at->ms) : 0, kExpiryDigits) +
         std::string(kExtension);
}

// MessageReference comes first: gammu puts the network's reference there when it has sent.
// PDU = Status_Report asks the network for a delivery report.
std::string GammuText(const SendSms& sms) {
  std::string text = "[SMSBackup000]\nMessageReference = 0\nPDU = Status_Report\nState = UnSent\n";
  text += "Number = \"" + sms.number + "\"\n";
  const std::string hex = HexOf(sms.bytes);
  for (size_t at = 0; at < hex.size(); at += kHexPerLine) {
    text += "Text0" + std::to_string(at / kHexPerLine) + " = " + hex.substr(at, kHexPerLine) + "\n";
  }
  return text + "Coding = 8bit\nLength = " + std::to_string(sms.bytes.size()) + "\nClass = -1\n";
}

std::optional<GammuSms> ReadGammuName(std::string_view name) {
  if (name.size() <= kExtension.size() ||
      name.substr(name.size() - kExtension.size()) != kExtension || name.substr(0, 3) != "OUT") {
    return std::nullopt;
  }
  const auto parts = Split(name.substr(0, name.size() - kExtension.size()), '_');
  constexpr size_t kParts = 5;
  if (parts.size() != kParts || parts[4].size() != 2 + kIdDigits + 1 + kExpiryDigits ||
      parts[4].substr(0, 2) != "lk" || parts[4][2 + kIdDigits] != 'x') {
    return std::nullopt;
  }
  const auto id = Number<uint64_t>(parts[4].substr(2, kIdDigits), 16);
  const auto expires = Number<uint64_t>(parts[4].substr(2 + kIdDigits + 1), 16);
  if (!id || !expires) {
    return std::nullopt;
  }
  GammuSms sms{*id, std::string(parts[3]), std::nullopt};
  if (*expires != 0) {
    sms.expires_at = Timestamp{static_cast<int64_t>(*expires)};
  }
  return sms;
}

std::optional<int> ReadGammuReference(std::string_view text) {
  const auto value = Value(text, "MessageReference");
  return value ? Number<int>(*value, 10) : std::nullopt;
}

std::optional<GammuReport> ReadGammuReport(std::string_view name, std::string_view text) {
  constexpr std::string_view kText = ".txt";
  const auto parts = Split(name, '_');
  constexpr size_t kParts = 5;  // IN date, time, serial, number, part
  if (name.substr(0, 2) != "IN" || name.size() < kText.size() ||
      name.substr(name.size() - kText.size()) != kText || parts.size() != kParts) {
    return std::nullopt;
  }
  GammuReport report{std::string(parts[3]), std::nullopt, std::nullopt};
  std::string letters;
  if (text.find("[SMSBackup") != std::string_view::npos) {
    if (Value(text, "PDU") != "Status_Report") {
      return std::nullopt;
    }
    report.reference = ReadGammuReference(text);
    letters = LettersOfHex(Value(text, "Text00").value_or(""));
  } else {
    letters = Letters(text);
  }
  if (letters == "Delivered") {
    report.what = SmsReport::What::kDelivered;
  } else if (letters == "Failed") {
    report.what = SmsReport::What::kFailed;
  } else if (letters != "Pending") {
    return std::nullopt;
  }
  return report;
}

GammuGateway::GammuGateway(GammuFolders folders, SmsReportSink sink, Duration look_every)
    : SmsWorker(std::move(sink), look_every), folders_(std::move(folders)) {
  Adopt(folders_.outbox, false);
  Adopt(folders_.sent, true);
  Start();
}

GammuGateway::~GammuGateway() {
  Stop();
}

// What a bridge before this one has left on its way.
void GammuGateway::Adopt(const fs::path& folder, bool sent) {
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    const std::optional<GammuSms> sms = ReadGammuName(name);
    if (sms && waiting_.size() < kWaitingMax) {
      reports().Expect(sms->id);
      Waiting one{*sms, sent, std::nullopt, WallNow()};
      if (sent) {
        one.reference = ReadGammuReference(ReadUpTo(at->path(), kInboxBytesMax));
      }
      waiting_.emplace(name, std::move(one));
    }
  }
}

void GammuGateway::Carry(const SendSms& sms) {
  const Timestamp now = WallNow();
  std::string why;
  if (sms.expires_at && *sms.expires_at <= now) {
    why = "it expired before the modem's turn";
  } else if (waiting_.size() >= kWaitingMax) {
    why = "too many SMS wait for the modem";
  } else {
    const std::string name = GammuName(sms, now, serial_++);
    const auto failed =
        WriteWhole(folders_.outbox / name, folders_.outbox / ("." + name), GammuText(sms));
    if (!failed) {
      waiting_.emplace(name, Waiting{{sms.id, sms.number, sms.expires_at}, false, {}, now});
      return;
    }
    why = "gammu's outbox cannot be written: " + *failed;
  }
  reports().Tell(sms.id, SmsReport::What::kFailed, why);
}

bool GammuGateway::Follow(const std::string& name, Waiting& one, Timestamp now) {
  if (one.sent) {
    if (now - one.sent_at <= kReportWait) {
      return true;
    }
    RemoveFile(folders_.sent / name);
    return false;
  }
  if (Exists(folders_.outbox / name)) {
    if (!one.sms.expires_at || now < *one.sms.expires_at) {
      return true;
    }
    RemoveFile(folders_.outbox / name);
    reports().Tell(one.sms.id, SmsReport::What::kFailed, "it expired before the modem sent it");
    return false;
  }
  if (Exists(folders_.sent / name)) {
    one.sent = true;
    one.sent_at = now;
    one.reference = ReadGammuReference(ReadUpTo(folders_.sent / name, kInboxBytesMax));
    reports().Tell(one.sms.id, SmsReport::What::kSent, "sent by the modem");
    return true;
  }
  const bool error = Exists(folders_.error / name);
  RemoveFile(folders_.error / name);
  reports().Tell(one.sms.id, SmsReport::What::kFailed,
                 error ? "the modem could not send it: see the log of gammu-smsd"
                       : "somebody took it out of the modem's outbox");
  return false;
}

void GammuGateway::Look() {
  const Timestamp now = WallNow();
  bool awaited = false;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const bool stays = Follow(at->first, at->second, now);
    awaited |= stays && at->second.sent;
    at = stays ? std::next(at) : waiting_.erase(at);
  }
  if (awaited && !folders_.inbox.empty()) {
    ReadInbox();
  }
}

void GammuGateway::ReadInbox() {
  std::map<std::string, bool> seen;
  std::error_code error;
  fs::directory_iterator at(folders_.inbox, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    seen.emplace(at->path().filename().string(), false);
  }
  for (auto& [name, done] : seen) {
    const auto before = inbox_.find(name);
    if (before != inbox_.end() && before->second) {
      done = true;
      continue;
    }
    // One that does not end in a line's end may still be written: it gets a second look.
    const std::string text = ReadUpTo(folders_.inbox / name, kInboxBytesMax);
    done = before != inbox_.end() || (!text.empty() && text.back() == '\n');
    const auto report = done ? ReadGammuReport(name, text) : std::nullopt;
    if (report) {
      TakeReport(folders_.inbox / name, *report);
    }
  }
  inbox_ = std::move(seen);
}

// By the network's reference when it is known, else the oldest to that number.
GammuGateway::WaitingMap::iterator GammuGateway::Find(const GammuReport& report) {
  auto best = waiting_.end();
  for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
    if (!at->second.sent || at->second.sms.number != report.number) {
      continue;
    }
    if (report.reference && at->second.reference == report.reference) {
      return at;
    }
    best = best == waiting_.end() ? at : best;
  }
  return best;
}

void GammuGateway::TakeReport(const fs::path& path, const GammuReport& report) {
  const auto one = Find(report);
  if (one == waiting_.end()) {
    return;  // not of an SMS of ours
  }
  RemoveFile(path);
  if (!report.what) {
    return;
  }
  reports().Tell(one->second.sms.id, *report.what,
                 *report.what == SmsReport::What::kDelivered ? "the network delivered it"
                                                             : "the network could not deliver it");
  RemoveFile(folders_.sent / one->first);
  waiting_.erase(one);
}

}  // namespace latchkey::bridge
