// Clients nobody here wrote: mosquitto_sub, mosquitto_pub and Python's paho, with a token from
// `latchkey phone token`, in MQTT 5 and 3.1.1.
#include <fstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "proto/topic.h"
#include "tests/support/cell.h"

namespace latchkey::testing {

namespace {

constexpr const char* kPaho = R"(import sys, ssl, threading
import paho.mqtt.client as mqtt
port, version, user, token, ca, own, other = sys.argv[1:8]
v5 = version == "5"
client = mqtt.Client(client_id=user + "/paho", protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311)
client.tls_set(ca_certs=ca)
client.username_pw_set(user, token)
done = threading.Event()
said = {}
def on_connect(c, userdata, flags, code, properties=None):
    print("connect", int(getattr(code, "value", code)), flush=True)
    if int(getattr(code, "value", code)) != 0:
        done.set()
        return
    said[c.subscribe(own, 1)[1]] = "own"
    said[c.subscribe(other, 1)[1]] = "other"
def on_subscribe(c, userdata, mid, codes, properties=None):
    code = codes[0]
    print("subscribe", said[mid], int(getattr(code, "value", code)), flush=True)
    if said[mid] == "other":
        done.set()
def on_message(c, userdata, message):
    print("message", message.topic, len(message.payload), flush=True)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect("127.0.0.1", int(port))
client.loop_start()
done.wait(15)
)";

}  // namespace

TEST_CASE("stock clients sign in as a phone, read their own car and cannot read another's") {
  Cell cell;
  cell.StartBroker();
  RawCar car(cell, "demo", "car-1");
  RawCar other(cell, "demo", "car-2");
  REQUIRE(cell.Latchkey({"phone", "init", "anna"}).exit_code == 0);
  const PrivateKey key = cell.PhoneKey("anna");
  REQUIRE(car.PublishRing({{key.Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(other.PublishRing({{PrivateKey::Generate().Public(), v1::ROLE_OWNER}}) == 0);
  REQUIRE(car.PublishSpeed(50) == 0);
  REQUIRE(other.PublishSpeed(60) == 0);
  const Ran minted = cell.Latchkey({"--json", "phone", "token", "anna", "--lives", "10m"});
  INFO(minted.output);
  REQUIRE(minted.exit_code == 0);
  const auto token = nlohmann::json::parse(minted.output);
  const std::string user = token["key_id"];
  const std::string password = token["token"];
  const std::string own = StateTopic(car.ref(), Group::kDrive);
  const std::string others = StateTopic(other.ref(), Group::kDrive);
  const std::string ca = (cell.path() / "ca" / "cell.pem").string();
  const std::vector<std::string> common = {
      "-h", "127.0.0.1", "-p", std::to_string(cell.phone_port()), "--cafile", ca, "-u", user, "-q",
      "1",  "-W",        "10"};
  const auto client = [&](const std::string& program, const std::string& version,
                          const std::string& secret, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        program, "-V", version, "-P", secret, "-i", user + "/" + program};
    const bool sub = program == "mosquitto_sub";
    arguments.insert(arguments.end(), common.begin(), sub ? common.end() : common.end() - 2);
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  };
  const std::string paho = (cell.path() / "test" / "stock.py").string();
  std::ofstream(paho) << kPaho;
  for (const std::string version : {"5", "311"}) {
    CAPTURE(version);
    const std::string protocol = version == "5" ? "mqttv5" : "mqttv311";
    const Ran mine =
        client("mosquitto_sub", protocol, password, {"-t", own, "-C", "1", "-F", "got %t"});
    INFO(mine.output);
    CHECK(mine.exit_code == 0);
    CHECK(mine.output.find("got " + own) != std::string::npos);
    const Ran theirs =
        client("mosquitto_sub", protocol, password, {"-t", others, "-C", "1", "-F", "got %t"});
    INFO(theirs.output);
    CHECK(theirs.output.find("denied") != std::string::npos);
    CHECK(theirs.output.find("got ") == std::string::npos);
    const Ran wrong = client("mosquitto_sub", protocol, password.substr(0, password.size() - 4),
                             {"-t", own, "-C", "1", "-F", "got %t"});
    INFO(wrong.output);
    CHECK(wrong.exit_code != 0);
    CHECK(wrong.output.find("got ") == std::string::npos);
    client("mosquitto_pub", protocol, password, {"-t", own, "-r", "-m", "lie"});
    const Ran still =
        client("mosquitto_sub", protocol, password, {"-t", own, "-C", "1", "-F", "got %p"});
    CHECK(still.output.find("lie") == std::string::npos);

    const Ran python = Run({"/usr/bin/python3", paho, std::to_string(cell.phone_port()), version,
                            user, password, ca, own, others});
    INFO(python.output);
    CHECK(CountLines(python.output, "connect 0") == 1);
    CHECK(CountLines(python.output, "subscribe own 1") == 1);
    CHECK(CountLines(python.output,
                     version == "5" ? "subscribe other 135" : "subscribe other 128") == 1);
    CHECK(CountLines(python.output, "message " + others) == 0);
  }
}

}  // namespace latchkey::testing
