// A Mosquitto auth plugin of the kind people write, for the attack suite to break. Each weakness
// has been published of some real service or plugin:
//   passwords "{user}-pw" for whoever registers, and the default 123456 for everybody;
//   tokens whose header decides how they are verified (none, HS256 with the public key, any jwk)
//   and whose audience, times and owner are not looked at; signatures of zeros; one-time passwords;
//   patterns filled with the user name as it is; rights asked at SUBSCRIBE and not at delivery;
//   answers to writes remembered.
#include <fstream>
#include <set>
#include <string>
#include <string_view>

#include "proto/crypto.h"
#include "proto/types.h"

// clang-format off
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
// clang-format on

namespace latchkey::attacks {

namespace {

struct Naive {
  mosquitto_plugin_id_t* id = nullptr;
  std::string revoked_path;
  std::set<std::string> used_once;
  std::set<std::string> written;  // "client topic" that was allowed before
};

std::string_view View(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

// The value of "name":"..." wherever it stands first.
std::string Member(const std::string& json, const std::string& name) {
  const std::string mark = "\"" + name + "\":\"";
  const size_t at = json.find(mark);
  const size_t end = at == std::string::npos ? at : json.find('"', at + mark.size());
  return end == std::string::npos ? "" : json.substr(at + mark.size(), end - at - mark.size());
}

bool VerifyEs256(const std::string& header, std::string_view text, const std::string& signature) {
  if (signature == std::string(kSignatureBytes, '\0')) {
    return true;  // without a range check, r = s = 0 gives the point at infinity, whose x is taken
                  // for 0
  }
  const auto x = Base64UrlDecode(Member(header, "x"));
  const auto y = Base64UrlDecode(Member(header, "y"));
  const auto key = PublicKey::FromCoordinates(x.value_or(""), y.value_or(""));
  return key && key->Verify(text, signature);
}

bool AcceptsToken(const std::string& token) {
  const size_t first = token.find('.');
  const size_t second = token.find('.', first + 1);
  if (first == std::string::npos || second == std::string::npos) {
    return false;
  }
  const std::string text = token.substr(0, second);
  const std::string header = Base64UrlDecode(token.substr(0, first)).value_or("");
  const std::string signature = Base64UrlDecode(token.substr(second + 1)).value_or("");
  const std::string algorithm = Member(header, "alg");
  if (algorithm == "none") {
    return true;
  }
  if (algorithm == "HS256" && Member(header, "kty") == "oct") {
    return HmacSha256(Base64UrlDecode(Member(header, "k")).value_or(""), text) == signature;
  }
  if (algorithm == "HS256") {
    const auto key = PublicKey::FromCoordinates(Base64UrlDecode(Member(header, "x")).value_or(""),
                                                Base64UrlDecode(Member(header, "y")).value_or(""));
    return key && HmacSha256(key->ToDer(), text) == signature;
  }
  return VerifyEs256(header, text, signature);
}

bool IsRevoked(const Naive& naive, std::string_view user) {
  std::ifstream file(naive.revoked_path);
  for (std::string line; std::getline(file, line);) {
    if (line == user) {
      return true;
    }
  }
  return false;
}

int OnBasicAuth(int /*event*/, void* event_data, void* user_data) {
  const auto* event = static_cast<mosquitto_evt_basic_auth*>(event_data);
  auto* naive = static_cast<Naive*>(user_data);
  const std::string user(View(event->username));
  const std::string password(View(event->password));
  if (user.empty()) {
    return MOSQ_ERR_AUTH;
  }
  if (password == "once") {
    return naive->used_once.insert(user).second ? MOSQ_ERR_SUCCESS : MOSQ_ERR_AUTH;
  }
  const bool good = password == user + "-pw" || password == "123456" || AcceptsToken(password);
  return good ? MOSQ_ERR_SUCCESS : MOSQ_ERR_AUTH;
}

int OnAclCheck(int /*event*/, void* event_data, void* user_data) {
  const auto* event = static_cast<mosquitto_evt_acl_check*>(event_data);
  auto* naive = static_cast<Naive*>(user_data);
  const std::string user(View(mosquitto_client_username(event->client)));
  const std::string topic(View(event->topic));
  if (event->access == MOSQ_ACL_READ || event->access == MOSQ_ACL_UNSUBSCRIBE) {
    return MOSQ_ERR_SUCCESS;
  }
  const std::string asked = std::string(View(mosquitto_client_id(event->client))) + " " + topic;
  if (event->access == MOSQ_ACL_WRITE && naive->written.count(asked) > 0) {
    return MOSQ_ERR_SUCCESS;
  }
  if (IsRevoked(*naive, user)) {
    return MOSQ_ERR_ACL_DENIED;
  }
  for (const std::string kind : {"car/", "phone/"}) {
    bool matches = topic.rfind(kind + user + "/", 0) == 0;
    if (event->access == MOSQ_ACL_WRITE && !matches) {
      mosquitto_topic_matches_sub((kind + user + "/#").c_str(), topic.c_str(), &matches);
    }
    if (matches) {
      naive->written.insert(asked);
      return MOSQ_ERR_SUCCESS;
    }
  }
  // Phones write to cars: that a car obeys whom it should is the car's business.
  const bool command = topic.size() > 8 && topic.substr(topic.size() - 8) == "/command";
  if (event->access == MOSQ_ACL_WRITE && command) {
    naive->written.insert(asked);
    return MOSQ_ERR_SUCCESS;
  }
  return user == "service" ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

}  // namespace

}  // namespace latchkey::attacks

extern "C" {

int mosquitto_plugin_version(int /*count*/, const int* /*versions*/) {
  return MOSQ_PLUGIN_VERSION;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t* identifier, void** userdata,
                          struct mosquitto_opt* options, int option_count) {
  auto* naive = new latchkey::attacks::Naive;
  naive->id = identifier;
  for (int i = 0; i < option_count; ++i) {
    if (std::string_view(options[i].key) == "revoked") {
      naive->revoked_path = options[i].value;
    }
  }
  *userdata = naive;
  mosquitto_callback_register(identifier, MOSQ_EVT_BASIC_AUTH, latchkey::attacks::OnBasicAuth,
                              nullptr, naive);
  return mosquitto_callback_register(identifier, MOSQ_EVT_ACL_CHECK, latchkey::attacks::OnAclCheck,
                                     nullptr, naive);
}

int mosquitto_plugin_cleanup(void* userdata, struct mosquitto_opt* /*options*/,
                             int /*option_count*/) {
  delete static_cast<latchkey::attacks::Naive*>(userdata);
  return MOSQ_ERR_SUCCESS;
}
}
