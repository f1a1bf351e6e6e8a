// Effects onto a Link, link events into inputs.
#include "tools/car/car_mqtt.h"

#include <utility>

namespace latchkey::car {
namespace {

constexpr int kQos = 1;

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

CarClient::CarClient(size_t index, Car car, tools::LinkOptions link, tools::Inbox& inbox,
                     Persistor persist)
    : car_(std::move(car)),
      persist_(std::move(persist)),
      link_(std::make_unique<tools::Link>(index, std::move(link), inbox)) {}

Effects CarClient::Step(const Input& input, const Now& now) {
  Effects shown;
  if (!failure_.empty()) {
    return shown;
  }
  Effects effects;
  car_.Step(input, now, effects);
  for (const Effect& effect : effects) {
    Do(effect, shown);
    if (!failure_.empty()) {
      shown.push_back(Note{"memory cannot be written: " + failure_ + "; the car stops"});
      link_->Disconnect();
      break;
    }
  }
  return shown;
}

void CarClient::Do(const Effect& effect, Effects& shown) {
  std::visit(
      Overloaded{
          [this](const Persist& persist) {
            const Result<void> written = persist_(persist.bytes);
            failure_ = written ? "" : written.error().text;
          },
          [this](const Connect&) { link_->Connect(); },
          [this](const Subscribe& subscribe) { link_->Subscribe(subscribe.filters, kQos); },
          [this](const HangUp&) { link_->Disconnect(); },
          [this, &shown](const Send& send) {
            const Result<void> sent = link_->Send(send.message);
            if (!sent) {
              shown.push_back(Note{"not sent: " + send.message.topic + ": " + sent.error().text});
            }
          },
          [&shown](const auto& other) { shown.push_back(other); },
      },
      effect);
}

Effects CarClient::Handle(const tools::LinkEvent& event, const Now& now, uint64_t random) {
  using Kind = tools::LinkEvent::Kind;
  switch (event.kind) {
    case Kind::kConnected:
      return Step(Connected{}, now);
    case Kind::kRefused:
      return Step(Disconnected{"refused with reason code " + std::to_string(event.reason_code) +
                                   ": " + event.text,
                               random},
                  now);
    case Kind::kDisconnected:
      return Step(Disconnected{event.text, random}, now);
    case Kind::kSubscribed:
      return Step(Subscribed{event.reason_codes}, now);
    case Kind::kPublished:
      if (event.reason_code >= 0x80) {
        return {Note{"the broker refuses a publish on " + event.message.topic +
                     " with reason code " + std::to_string(event.reason_code)}};
      }
      return {};
    case Kind::kMessage:
      return Step(Arrived{event.message}, now);
  }
  return {};
}

}  // namespace latchkey::car
