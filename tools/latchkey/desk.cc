// The certificate is made for this one talk from the cell's CA and lives five minutes, in files
// only because paho takes nothing else.
#include "tools/latchkey/desk.h"

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <utility>

#include <pwd.h>
#include <unistd.h>

#include "proto/blocks.h"
#include "proto/certificate.h"
#include "proto/wire.h"
#include "tools/ca/ca.h"
#include "tools/latchkey/show.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr int kFirstRefusal = 0x80;
constexpr Duration kCertificateLife = std::chrono::minutes(5);
constexpr Duration kDay = std::chrono::hours(24);

// Who is at the keyboard, as a name that a certificate may carry: the broker's log shows it.
std::string AdministratorName() {
  const passwd* entry = ::getpwuid(::geteuid());  // NOLINT(concurrency-mt-unsafe): one thread
  std::string name = entry != nullptr ? entry->pw_name : "";
  std::erase_if(name, [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_');
  });
  return name.empty() ? "administrator" : name.substr(0, 32);
}

}  // namespace

ShortPass::~ShortPass() {
  std::error_code ignored;
  if (!path_.empty()) {
    fs::remove_all(path_, ignored);
  }
}

Result<void> ShortPass::Make(const Folder& folder, const std::string& name, Timestamp now) {
  const Result<tools::Issued> ca = LoadIssued(folder.root() / "ca", "cell");
  if (!ca) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "blocking needs the cell's CA, which this data folder lacks (" + ca.error().text +
                    "): run this where `latchkey fleet init` was run, or name that folder with "
                    "--data");
  }
  // A certificate lives whole days from an hour before: it begins early to end in five minutes.
  LK_TRY(const tools::Issued issued,
         tools::IssueClient(AdministratorIdentity{name}, *ca, now + kCertificateLife - kDay, 1));
  std::error_code error;
  fs::create_directories(folder.root() / "run", error);
  std::string path = (folder.root() / "run" / "block-XXXXXX").string();
  if (error || ::mkdtemp(path.data()) == nullptr) {
    return Fail(v1::REASON_STORE_UNAVAILABLE,
                "cannot make a folder in " + (folder.root() / "run").string() + ": " +
                    (error ? error.message() : std::generic_category().message(errno)));
  }
  path_ = path;
  return SaveIssued(path_, "administrator", issued);
}

Result<std::unique_ptr<Desk>> Desk::Open(const Folder& folder, const Cell& cell,
                                         Duration patience) {
  const std::string name = AdministratorName();
  auto pass = std::make_unique<ShortPass>();
  LK_CHECK(pass->Make(folder, name, ReadClocks().wall));
  tools::LinkOptions link;
  link.host = cell.host;
  link.port = cell.car_port;
  link.client_id = "administrator/" + name + "/block-" + std::to_string(::getpid());
  link.ca_file = folder.CellCa().string();
  link.certificate_file = pass->certificate().string();
  link.private_key_file = pass->key().string();
  return std::unique_ptr<Desk>(new Desk(std::move(pass), std::move(link), patience));
}

Desk::Desk(std::unique_ptr<ShortPass> pass, tools::LinkOptions link, Duration patience)
    : pass_(std::move(pass)),
      link_(0, std::move(link), inbox_),
      until_(ReadClocks().mono + patience) {
  link_.Connect();
}

Result<v1::ControlAnswer> Desk::Ask(v1::Control question) {
  question.set_request_id(++request_id_);
  LK_CHECK(Send({std::string(kControlTopic), question.SerializeAsString(), 1, Retain::kNo, 0}));
  for (;;) {
    LK_TRY(const tools::LinkEvent event, Next());
    if (event.kind == tools::LinkEvent::Kind::kPublished && event.reason_code >= kFirstRefusal) {
      return Fail(v1::REASON_NOT_ALLOWED, "the broker refuses to hear an administrator (" +
                                              ReasonCodeText(event.reason_code) +
                                              "): is its latchkey_auth plugin of this version?");
    }
    if (event.kind != tools::LinkEvent::Kind::kMessage ||
        event.message.topic != kControlAnswerTopic) {
      continue;
    }
    std::optional<v1::ControlAnswer> answer =
        FromWire<v1::ControlAnswer>(event.message.payload, kControlBytesMax);
    if (!answer || answer->request_id() != request_id_) {
      continue;
    }
    if (answer->reason() != v1::REASON_UNSPECIFIED) {
      return Fail(answer->reason(), "refused: " + Printable(answer->text()));
    }
    return std::move(*answer);
  }
}

Result<void> Desk::Send(const Publish& publish) {
  while (!connected_) {
    LK_TRY(const tools::LinkEvent event, Next());
    connected_ = event.kind == tools::LinkEvent::Kind::kConnected;
  }
  return link_.Send(publish);
}

Result<tools::LinkEvent> Desk::Next() {
  for (;;) {
    const Instant now = ReadClocks().mono;
    if (now >= until_) {
      return Fail(v1::REASON_EXPIRED,
                  "the broker has not answered in time: is it running, with the latchkey_auth "
                  "plugin? Nothing is known to be changed; run this again");
    }
    std::optional<tools::LinkEvent> event = inbox_.Wait(until_ - now);
    if (!event) {
      continue;
    }
    if (event->kind == tools::LinkEvent::Kind::kRefused) {
      return Fail(v1::REASON_NOT_ALLOWED,
                  "the broker refuses this administrator: " + ReasonCodeText(event->reason_code) +
                      "; the clock may be wrong, or the folder is another cell's");
    }
    if (event->kind == tools::LinkEvent::Kind::kDisconnected) {
      return Fail(v1::REASON_STORE_UNAVAILABLE,
                  "no connection to the broker: " + event->text +
                      ". Nothing is known to be changed; run this again");
    }
    return std::move(*event);
  }
}

}  // namespace latchkey::cli
