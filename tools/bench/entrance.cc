// See entrance.h.
#include "tools/bench/entrance.h"

#include <utility>

#include "tools/latchkey/folder.h"

namespace latchkey::bench {

namespace {

constexpr uint16_t kKeepAliveS = 300;  // the most a cell's broker takes

}  // namespace

Result<Entrance> Entrance::To(const Place& place, const BenchBroker& broker, bool tls) {
  Entrance entrance(broker);
  std::shared_ptr<const Tls> client;
  if (tls) {
    LK_TRY(const std::string ca, cli::ReadFile(place.ca_file()));
    LK_TRY(client, Tls::Client(ca));
  }
  entrance.cars_ = {"127.0.0.1", broker.car_port(), client};
  entrance.phones_ = {"127.0.0.1", broker.phone_port(), client};
  return entrance;
}

Result<ClientWish> Entrance::With(const SignIn& sign_in) const {
  ClientWish wish;
  wish.client_id = sign_in.client_id;
  wish.keep_alive_s = kKeepAliveS;
  wish.endpoint = sign_in.issued != nullptr ? cars_ : phones_;
  if (!sign_in.user_name.empty()) {
    wish.user_name = sign_in.user_name;
    wish.password = sign_in.password;
  }
  if (sign_in.issued != nullptr) {
    LK_TRY(wish.identity,
           Identity::FromPem(sign_in.issued->certificate_pem, sign_in.issued->private_key_pem));
  }
  return wish;
}

Result<ClientWish> Entrance::Car(size_t car) const {
  return With(broker_->CarSignIn(car));
}

Result<ClientWish> Entrance::Phone(size_t phone) const {
  return With(broker_->PhoneSignIn(phone));
}

Result<ClientWish> Entrance::Tap() const {
  return With(broker_->TapSignIn());
}

}  // namespace latchkey::bench
