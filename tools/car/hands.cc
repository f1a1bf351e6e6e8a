// Effects, one after the other.
#include "tools/car/hands.h"

namespace latchkey::car {
namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

Result<void> DoOne(const Effect& effect, const Hands& hands) {
  return std::visit(
      Overloaded{
          [&](const Persist& persist) { return hands.persist(persist.bytes); },
          [&](const NewCertificate& fresh) { return hands.keep_certificate(fresh.der); },
          [&](const Connect&) -> Result<void> {
            hands.connect();
            return {};
          },
          [&](const Subscribe& subscribe) -> Result<void> {
            hands.subscribe(subscribe.filters);
            return {};
          },
          [&](const HangUp&) -> Result<void> {
            hands.hang_up();
            return {};
          },
          [&](const Send& send) -> Result<void> {
            const Result<void> sent = hands.send(send);
            if (!sent) {
              hands.show(Note{"not sent: " + send.message.topic + ": " + sent.error().text});
            }
            return {};
          },
          [&](const auto& other) -> Result<void> {
            hands.show(other);
            return {};
          },
      },
      effect);
}

}  // namespace

Result<void> Do(const Effects& effects, const Hands& hands) {
  for (const Effect& effect : effects) {
    LK_CHECK(DoOne(effect, hands));
  }
  return {};
}

}  // namespace latchkey::car
