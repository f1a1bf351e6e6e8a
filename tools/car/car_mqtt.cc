// Effects onto a Link, link events into inputs.
#include "tools/car/car_mqtt.h"

#include <utility>

namespace latchkey::car {
namespace {

constexpr int kQos = 1;
constexpr int kFirstRefusal = 0x80;

}  // namespace

CarClient::CarClient(size_t index, Car car, tools::LinkOptions link, tools::Inbox& inbox,
                     Storage storage)
    : car_(std::move(car)), link_(std::make_unique<tools::Link>(index, std::move(link), inbox)) {
  hands_.persist = std::move(storage.memory);
  hands_.keep_certificate = std::move(storage.certificate);
  hands_.connect = [this] { link_->Connect(); };
  hands_.subscribe = [this](const std::vector<std::string>& filters) {
    link_->Subscribe(filters, kQos);
  };
  hands_.hang_up = [this] { link_->Disconnect(); };
  hands_.send = [this](const Send& send) { return link_->Send(send.message, send.tag); };
  hands_.show = [](const Effect&) {};
}

void CarClient::Step(const Input& input, const Now& now) {
  if (!failure_.empty()) {
    return;
  }
  Effects effects;
  car_.Step(input, now, effects);
  const Result<void> done = Do(effects, hands_);
  if (!done) {
    failure_ = done.error().text;
    hands_.show(Note{"a file cannot be written: " + failure_ + "; the car stops"});
    link_->Disconnect();
  }
}

void CarClient::Handle(const tools::LinkEvent& event, const Now& now, uint64_t random) {
  using Kind = tools::LinkEvent::Kind;
  switch (event.kind) {
    case Kind::kConnected:
      Step(Connected{}, now);
      break;
    case Kind::kRefused:
      Step(Disconnected{"refused with reason code " + std::to_string(event.reason_code) + ": " +
                            event.text,
                        event.try_now ? 0 : random},
           now);
      break;
    case Kind::kDisconnected:
      Step(Disconnected{event.text, event.try_now ? 0 : random}, now);
      break;
    case Kind::kSubscribed:
      Step(Subscribed{event.reason_codes}, now);
      break;
    case Kind::kPublished:
      Step(Published{event.tag, event.reason_code}, now);
      if (event.reason_code >= kFirstRefusal) {
        hands_.show(Note{"the broker refuses a publish on " + event.message.topic +
                         " with reason code " + std::to_string(event.reason_code)});
      }
      break;
    case Kind::kMessage:
      Step(Arrived{event.message}, now);
      break;
  }
}

}  // namespace latchkey::car
