// Mosquitto in the dressings that are compared: with nothing, with its own two means of access
// control, and with Latchkey's plugins. All else is alike and as `latchkey fleet init` writes it:
// two listeners with TLS (the cars' asks for a client's certificate), bounds and persistence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "proto/result.h"
#include "proto/time.h"
#include "tools/bench/crowd.h"
#include "tools/bench/place.h"
#include "tools/bench/process.h"

namespace latchkey::bench {

// kAclFile: password_file and acl_file, a block for each client with its topics. kDynamicSecurity:
// mosquitto_dynamic_security.so, a client and a role with its topics for each; what no role names
// is denied, for deliveries, too.
enum class Dressing : uint8_t { kBare, kAclFile, kDynamicSecurity, kLatchkey };

// "bare", "acl_file", "dynamic_security", "latchkey".
std::string_view ToText(Dressing dressing);

struct BrokerWish {
  Dressing dressing = Dressing::kBare;
  const Place* place = nullptr;  // lives as long as the broker
  const Crowd* crowd = nullptr;  // likewise
  // False: neither listener has TLS. For kBare only: Latchkey's cars sign in by certificate.
  bool tls = true;
  // kLatchkey: pairings in the ring file. kAclFile, kDynamicSecurity: clients that the files list,
  // cars and phones; at least those of the crowd.
  size_t listed_clients = 0;
  // kLatchkey: the limit of sign-ins a second that `fleet init` sets. Off, so that a crowd connects
  // as fast as with the other dressings; the storm switches it on.
  bool admission = false;
  // kLatchkey: the guard's limits as shipped. Else its buckets are asked as ever and hold so much
  // that they refuse nobody: a hundred clients can then do the work of many thousands.
  bool shipped_rates = false;
  // A folder with a ring file, rings.log, to copy; empty: one is written for listed_clients.
  std::filesystem::path rings_from;
};

// The administrator of kDynamicSecurity, who may use its $CONTROL topic.
inline constexpr std::string_view kDynamicAdministrator = "bench-administrator";

// One broker with its own folder and ports. One thread.
class BenchBroker {
 public:
  // Starts it and waits until it takes connections. Errors REASON_STORE_UNAVAILABLE (files, or it
  // ends, or does not serve within 10 minutes; the text has the end of its log), REASON_FULL (no
  // free port).
  static Result<std::unique_ptr<BenchBroker>> Start(const BrokerWish& wish);
  ~BenchBroker();
  BenchBroker(const BenchBroker&) = delete;
  BenchBroker& operator=(const BenchBroker&) = delete;

  Dressing dressing() const { return wish_.dressing; }

  bool tls() const { return wish_.tls; }

  // Cars, the tap and the bridge; phones.
  int car_port() const { return car_port_; }

  int phone_port() const { return phone_port_; }

  pid_t pid() const { return process_->pid(); }

  // All zero: it has ended.
  Usage Used() const;

  // How a client of the crowd signs in here: with Latchkey as people do, with the others by user
  // name and password beside the certificate that TLS asks for.
  SignIn CarSignIn(size_t car) const;
  SignIn PhoneSignIn(size_t phone) const;
  SignIn TapSignIn() const;
  // kDynamicSecurity: connects to the cars' port with the tap's certificate.
  SignIn AdministratorSignIn() const;

  // How long it took from the start of the process until it took connections.
  Duration took_to_serve() const { return took_to_serve_; }

  const std::filesystem::path& folder() const { return folder_; }

  void Stop();
  // As a crash, then the same broker on the same ports, with what it had on disk.
  Result<void> Restart();

 private:
  explicit BenchBroker(const BrokerWish& wish) : wish_(wish) {}

  Result<void> WriteFiles();
  Result<void> Serve();

  BrokerWish wish_;
  std::filesystem::path folder_;
  int car_port_ = 0;
  int phone_port_ = 0;
  Duration took_to_serve_{0};
  std::unique_ptr<Process> process_;
};

}  // namespace latchkey::bench
