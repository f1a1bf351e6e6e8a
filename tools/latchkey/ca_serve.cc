// The registrar's process: files, connection and clock around Registrar, which decides.
#include "tools/latchkey/ca_serve.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "proto/renewal.h"
#include "proto/topic.h"
#include "tools/latchkey/ca_inventory.h"
#include "tools/latchkey/ca_registrar.h"
#include "tools/latchkey/cell.h"
#include "tools/latchkey/folder.h"
#include "tools/latchkey/show.h"
#include "tools/mqtt/link.h"

namespace latchkey::cli {

namespace {

namespace fs = std::filesystem;

constexpr Duration kWaitMax = std::chrono::milliseconds(200);
constexpr Duration kRefreshEvery = std::chrono::seconds(2);
constexpr Duration kChoresEvery = std::chrono::hours(1);
constexpr Duration kRetryFirst = std::chrono::seconds(1);
constexpr Duration kRetryMax = std::chrono::seconds(30);
constexpr int kFirstRefusal = 0x80;

volatile std::sig_atomic_t stop_asked = 0;

void AskToStop(int /*signal*/) {
  stop_asked = 1;
}

class Serve {
 public:
  Serve(Context& context, const ServeWish& wish, const Cell& cell, Registrar registrar)
      : context_(context),
        folder_(context.data),
        wish_(wish),
        authority_(FleetAuthority(folder_, wish.fleet)),
        registrar_(std::move(registrar)),
        link_(0, Options(cell), inbox_) {}

  void Run() {
    std::signal(SIGINT, AskToStop);
    std::signal(SIGTERM, AskToStop);
    Now now = ReadClocks();
    const Instant begin = now.mono;
    AdoptHeld(authority_);
    while (stop_asked == 0 && (!wish_.length || now.mono - begin < *wish_.length)) {
      if (now.mono >= chores_at_) {
        Chores(now);
      }
      if (idle_ && now.mono >= connect_at_) {
        idle_ = false;
        RenewOwn(now.wall);
        link_.Connect();
      }
      const auto event = inbox_.Wait(kWaitMax);
      now = ReadClocks();
      if (event) {
        On(*event, now);
      }
    }
    Log("stops");
  }

 private:
  fs::path Own() const { return authority_.folder / "registrar"; }

  tools::LinkOptions Options(const Cell& cell) const {
    tools::LinkOptions link;
    link.host = cell.host;
    link.port = cell.car_port;
    link.client_id = wish_.fleet.str() + "/registrar";
    link.ca_file = folder_.CellCa().string();
    link.certificate_file = (Own() / "registrar.pem").string();
    link.private_key_file = (Own() / "registrar.key").string();
    return link;
  }

  void Log(const std::string& text) const {
    const Timestamp at = ReadClocks().wall;
    if (context_.json) {
      Say(nlohmann::ordered_json{{"at_ms", at.ms}, {"fleet", wish_.fleet.str()}, {"event", text}}
              .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      Say(DateText(at) + " registrar of " + wish_.fleet.str() + ": " + text);
    }
  }

  // May the certificate on disk be used on?
  bool OwnIsGood(const tools::Issued& ca, Timestamp now) const {
    const Result<tools::Issued> own = LoadIssued(Own(), "registrar");
    const Result<std::string> ca_der = PemToDer(ca.certificate_pem);
    const auto certificate = own ? Certificate::FromPem(own->certificate_pem)
                                 : Result<Certificate>(tl::unexpected<Error>(own.error()));
    const Result<RevokedList> revoked = LoadRevoked(authority_);
    return certificate && ca_der && CheckSignedBy(certificate->der, *ca_der, now) &&
           certificate->identity == CertificateIdentity(RegistrarIdentity{wish_.fleet}) &&
           now < RenewalDue(*certificate) &&
           (!revoked || revoked->Find(certificate->serial) == nullptr);
  }

  // Its own certificate: a new key and certificate when there is none to go on with. True: new.
  bool RenewOwn(Timestamp now) {
    const Result<tools::Issued> ca = LoadCa(authority_);
    if (!ca || OwnIsGood(*ca, now)) {
      return false;
    }
    const auto own = IssueAndKeep(folder_, RegistrarIdentity{wish_.fleet}, now, kRegistrarDays);
    const Result<void> saved =
        own ? SaveIssued(Own(), "registrar", *own) : tl::unexpected<Error>(own.error());
    Log(saved ? "has a new certificate of its own" : "cannot renew itself: " + saved.error().text);
    return saved.has_value();
  }

  // A list that is half through its time is written anew; one that was never needed is not.
  void RenewList(const Authority& authority, Timestamp now) {
    std::error_code ignored;
    const Result<tools::Issued> ca = LoadCa(authority);
    if (!ca || !fs::exists(authority.list, ignored)) {
      return;
    }
    const Result<std::string> bytes = ReadFile(authority.list);
    const Result<std::string> ca_der = PemToDer(ca->certificate_pem);
    const auto list = bytes && ca_der ? ReadRevocations(*bytes, *ca_der)
                                      : Result<Revocations>(Fail(v1::REASON_MALFORMED, ""));
    if (list && list->next_update &&
        now < list->this_update + (*list->next_update - list->this_update) / 2) {
      return;
    }
    const Result<RevokedList> written = Revoke(authority, {}, now);
    Log(written ? "renews the revocation list of " + authority.name
                : "cannot renew the revocation list of " + authority.name + ": " +
                      written.error().text);
  }

  void Chores(const Now& now) {
    chores_at_ = now.mono + kChoresEvery;
    RenewList(authority_, now.wall);
    RenewList(CellAuthority(folder_), now.wall);
    if (RenewOwn(now.wall) && !idle_) {
      link_.Disconnect();  // and again with the new one
      Retry(now);
    }
  }

  void Retry(const Now& now) {
    idle_ = true;
    connect_at_ = now.mono + back_off_;
    back_off_ = std::min(back_off_ * 2, kRetryMax);
  }

  void On(const tools::LinkEvent& event, const Now& now) {
    switch (event.kind) {
      case tools::LinkEvent::Kind::kConnected:
        link_.Subscribe({"lk/1/" + wish_.fleet.str() + "/+/certificate/request"}, 1);
        return;
      case tools::LinkEvent::Kind::kRefused:
        Log("the broker refuses it: " + ReasonCodeText(event.reason_code));
        Retry(now);
        return;
      case tools::LinkEvent::Kind::kDisconnected:
        Log("no connection: " + event.text);
        Retry(now);
        return;
      case tools::LinkEvent::Kind::kSubscribed:
        if (!event.reason_codes.empty() && event.reason_codes.front() >= kFirstRefusal) {
          Log("may not listen: " + ReasonCodeText(event.reason_codes.front()));
          link_.Disconnect();
          Retry(now);
          return;
        }
        back_off_ = kRetryFirst;
        Log("serves");
        return;
      case tools::LinkEvent::Kind::kPublished:
        if (event.reason_code >= kFirstRefusal) {
          Log("the broker refuses an answer: " + ReasonCodeText(event.reason_code));
        }
        return;
      case tools::LinkEvent::Kind::kMessage:
        Handle(event.message, now);
        return;
    }
  }

  // What other processes have issued and revoked since.
  void Refresh(const std::optional<CarRef>& ref, const Now& now) {
    if (now.mono >= refresh_at_) {
      refresh_at_ = now.mono + kRefreshEvery;
      for (Certificate& each : ReadNewCertificates(authority_.issued, seen_)) {
        registrar_.Learn(std::move(each));
      }
    }
    if (ref && !registrar_.Knows(*ref)) {
      Adopt(authority_, folder_.Car(*ref));
      for (Certificate& each : ReadNewCertificates(authority_.issued, seen_)) {
        registrar_.Learn(std::move(each));
      }
    }
  }

  // False: nobody is granted anything while it is not known what is revoked.
  bool ReadRevoked() {
    const Result<RevokedList> revoked = LoadRevoked(authority_);
    if (!revoked) {
      Log("grants nothing: " + revoked.error().text);
      return false;
    }
    std::set<std::string, std::less<>> serials;
    for (const tools::Revoked& each : revoked->entries) {
      serials.insert(each.serial);
    }
    registrar_.SetRevoked(std::move(serials));
    return true;
  }

  void Handle(const Publish& message, const Now& now) {
    const std::optional<Topic> topic = ParseTopic(message.topic);
    const auto car = topic ? CarId::Parse(topic->car) : std::nullopt;
    const std::optional<CarRef> ref = car ? std::optional(CarRef{wish_.fleet, *car}) : std::nullopt;
    Refresh(ref, now);
    if (!ReadRevoked()) {
      return;
    }
    Registrar::Answer answer = registrar_.Handle(message, now);
    if (!answer.keep_pem.empty() && ref) {
      const Result<void> kept = KeepIssued(authority_, answer.keep_pem);
      Result<Certificate> certificate = Certificate::FromPem(answer.keep_pem);
      if (kept && certificate) {
        registrar_.Learn(std::move(*certificate));
      } else {
        answer = registrar_.CannotKeep(*ref, answer.requested_at,
                                       kept ? "unreadable" : kept.error().text);
      }
    }
    Log(answer.line);
    if (answer.publish) {
      const Result<void> sent = link_.Send(*answer.publish);
      if (!sent) {
        Log("cannot answer, the car will ask again: " + sent.error().text);
      }
    }
  }

  Context& context_;
  Folder folder_;
  ServeWish wish_;
  Authority authority_;
  Registrar registrar_;
  std::set<std::string> seen_;  // files of the inventory that have been read
  tools::Inbox inbox_;
  tools::Link link_;
  bool idle_ = true;  // neither connected nor trying
  Instant connect_at_{};
  Instant refresh_at_{};
  Instant chores_at_{};
  Duration back_off_ = kRetryFirst;
};

}  // namespace

Result<void> ServeRegistrar(Context& context, const ServeWish& wish) {
  const Folder folder(context.data);
  LK_TRY(const Cell cell, folder.LoadCell());
  const Authority authority = FleetAuthority(folder, wish.fleet);
  LK_TRY(tools::Issued ca, LoadCa(authority));
  const FileLock lock(authority.folder / "registrar.lock", FileLock::Patience::kTry);
  if (!lock.held()) {
    return Fail(v1::REASON_FULL, "another `latchkey ca serve` answers for " + authority.name +
                                     " from this folder: one is enough");
  }
  LK_TRY(Registrar registrar, Registrar::Make(wish.fleet, std::move(ca), wish.days));
  Serve(context, wish, cell, std::move(registrar)).Run();
  return {};
}

}  // namespace latchkey::cli
