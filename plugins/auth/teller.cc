// Counting, wording, saying. Refused deliveries are counted and logged by the broker only: a phone
// that listens to more than it may read makes one with every message, and has done nothing.
#include "plugins/auth/teller.h"

#include <string>

namespace latchkey::auth {

using broker::Level;

void Teller::Refuse(const Refused& refused, const Now& now) {
  if (const std::optional<std::string> line = refusals_.Count(refused, now.mono)) {
    broker_.Log(Level::kWarning, *line);
  }
}

void Teller::RefuseSignIn(const broker::Client& client, std::string_view key, const Error& error,
                          const Now& now) {
  Refuse({At::kConnect, error.reason, client.id(), {}, error.text}, now);
  Event event;
  event.kind = EventKind::kSignInRefused;
  event.reason = error.reason;
  event.who = client.id();
  event.address = client.address();
  event.key = key;
  event.text = error.text;
  Say(events_.Note(event, now));
}

void Teller::Judged(const broker::AccessRequest& request, const Principal* principal,
                    Verdict verdict, const Now& now) {
  if (principal != nullptr && principal->kind == PrincipalKind::kOperator) {
    JudgedOperator(request, *principal, verdict, now);
  } else if (!verdict.allowed()) {
    const std::string who =
        principal == nullptr ? std::string(request.client.id()) : principal->ToText();
    const Refused refused{request.at, verdict.reason, who, request.topic, {}};
    if (request.at == At::kRead) {
      Refuse(refused, now);
    } else {
      RefuseClient(refused, principal, now);
    }
  }
}

// Operators have lines of their own.
void Teller::JudgedOperator(const broker::AccessRequest& request, const Principal& principal,
                            Verdict verdict, const Now& now) {
  const bool allowed = verdict.allowed();
  if (allowed && request.at != At::kSubscribe) {
    return;
  }
  if (!allowed) {
    refusals_.CountOnly(request.at, verdict.reason);
  }
  const std::string who = principal.ToText();
  const auto line = taps_.Note({request.at, who, request.topic, verdict}, now.mono);
  if (!line) {
    return;
  }
  broker_.Log(allowed ? Level::kInfo : Level::kWarning, *line);
  if (request.at != At::kRead) {
    Event event;
    event.kind = allowed ? EventKind::kTap : EventKind::kTapRefused;
    event.reason = verdict.reason;
    event.principal = &principal;
    event.topic = request.topic;
    Say(events_.Note(event, now));
  }
}

void Teller::RefuseClient(const Refused& refused, const Principal* principal, const Now& now) {
  Refuse(refused, now);
  Event event;
  event.reason = refused.reason;
  event.principal = principal;
  event.who = refused.who;
  event.topic = refused.topic;
  event.text = refused.text;
  Say(events_.Note(event, now));
}

void Teller::Storm(const std::string& text, const Now& now) {
  broker_.Log(Level::kWarning, "latchkey storm text=" + Quoted(text));
  Say(EventBook::Storm(text, now));
}

void Teller::Tick(const Now& now) {
  if (const std::optional<std::string> line = refusals_.TakeSuppressed(now.mono)) {
    broker_.Log(Level::kWarning, *line);
  }
}

void Teller::Tell(const Now& now) {
  for (const Publish& publish : refusals_.TakeChanged()) {
    Say(publish);
  }
  for (const Publish& publish : taps_.TakeChanged()) {
    Say(publish);
  }
  for (const Publish& publish : events_.TakeLeftOut(now)) {
    Say(publish);
  }
}

void Teller::Say(const std::optional<Publish>& publish) {
  if (publish && !broker_.Send(*publish)) {
    broker_.Log(Level::kError, "latchkey not_published topic=" + Quoted(publish->topic));
  }
}

}  // namespace latchkey::auth
