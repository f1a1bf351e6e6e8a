// A plugin behind the real door that fails on demand: whatever a client names "fault" throws. For
// plugin_fault_test; never installed.
#include <stdexcept>
#include <string>

#include "plugins/mosquitto.h"

namespace latchkey::broker {

namespace {

class FaultyPlugin : public Plugin {
 public:
  explicit FaultyPlugin(Broker& broker) : broker_(broker) {}

  Events Wants() const override { return {true, Word::kDecides, true, "$CONTROL/faulty/v1"}; }

  SignInAnswer SignIn(const SignInRequest& request, Now /*now*/) override {
    Fail(request.client.id());
    return {Verdict::Allow(), {}};
  }

  Verdict CheckAccess(const AccessRequest& request, Now /*now*/) override {
    if (request.at != At::kRead) {
      Fail(request.topic.find("message") == std::string_view::npos ? request.topic : "");
    } else {
      Fail(request.payload);
    }
    return Verdict::Allow();
  }

  Verdict CheckMessage(const MessageRequest& request, Now /*now*/) override {
    Fail(request.topic);
    return Verdict::Allow();
  }

  void Control(const ControlRequest& request, Now /*now*/) override { Fail(request.payload); }

  void Disconnected(const void* /*connection*/, Now /*now*/) override { Fail("fault-std"); }

  void Reload(Now /*now*/) override { Fail("fault-std"); }

  void Tick(Now /*now*/) override {
    if (ticks_++ == 0) {
      Fail("fault-int");
    }
  }

  void CountFault(At at, const std::string& what, Now /*now*/) override {
    broker_.Log(Level::kError, "faulty counted at=" + std::string(ToText(at)) + " what=" + what);
    if (what == "twice") {
      throw std::runtime_error("while counting");
    }
  }

 private:
  static void Fail(std::string_view text) {
    if (text.find("fault-std") != std::string_view::npos) {
      throw std::runtime_error("standard");
    }
    if (text.find("fault-int") != std::string_view::npos) {
      throw 7;
    }
    if (text.find("fault-twice") != std::string_view::npos) {
      throw std::runtime_error("twice");
    }
    LK_ASSERT(text.find("fault-assert") == std::string_view::npos);
  }

  Broker& broker_;
  int ticks_ = 0;
};

}  // namespace

Result<std::unique_ptr<Plugin>> MakePlugin(const std::vector<Option>& options, Broker& broker,
                                           Now /*now*/) {
  if (!options.empty()) {
    throw std::runtime_error("no options, please");
  }
  return std::unique_ptr<Plugin>(std::make_unique<FaultyPlugin>(broker));
}

}  // namespace latchkey::broker
