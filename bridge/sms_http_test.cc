// The HTTP gateway against a small server of the test's own, and the reports that come back.
#include "bridge/sms_http.h"

#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge/http.h"
#include "bridge/queue.h"
#include "storage/memory_store.h"

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using What = SmsReport::What;

const CarRef kCar{FleetId::Parse("demo").value(), CarId::Parse("car-1").value()};
constexpr const char* kToken = "a-token-of-32-characters-or-so-1";

SendSms Sms(uint64_t id, std::optional<Timestamp> expires_at = std::nullopt) {
  return {id, kCar, "+436601234567", std::string("\x02\xff\xfe", 3), expires_at};
}

// Answers with the statuses it is given, the last for ever, and keeps what it was told.
class Server {
 public:
  explicit Server(std::vector<int> statuses) : statuses_(std::move(statuses)) {
    server_.Post("/send", [this](const httplib::Request& request, httplib::Response& response) {
      const std::scoped_lock lock(mutex_);
      heard_.push_back(json::parse(request.body, nullptr, false));
      authorization_ = request.get_header_value("Authorization");
      response.status = statuses_.at(std::min(heard_.size(), statuses_.size()) - 1);
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    REQUIRE(port_ > 0);
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) {
      std::this_thread::yield();
    }
  }

  ~Server() {
    server_.stop();
    thread_.join();
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  HttpSmsOptions Options() const {
    return {"http://127.0.0.1:" + std::to_string(port_) + "/send",
            kToken,
            "http://127.0.0.1:9464/v1/sms/report",
            {std::chrono::milliseconds(10), std::chrono::milliseconds(10)}};
  }

  std::vector<json> Heard() {
    const std::scoped_lock lock(mutex_);
    return heard_;
  }

  std::string Authorization() {
    const std::scoped_lock lock(mutex_);
    return authorization_;
  }

 private:
  const std::vector<int> statuses_;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<json> heard_;
  std::string authorization_;
};

struct Reports {
  SmsReportSink Sink() {
    return [this](SmsReport report) { queue.PutAlways(std::move(report)); };
  }

  std::string Next() {
    const std::vector<SmsReport> got = queue.Drain(1, std::chrono::seconds(20));
    constexpr const char* kWords[] = {" sent: ", " delivered: ", " failed: "};
    return got.empty()
               ? "nothing"
               : std::to_string(got[0].id) + kWords[static_cast<int>(got[0].what)] + got[0].text;
  }

  BoundedQueue<SmsReport> queue{100};
};

int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

SmsPost Post(const std::string& body, const std::string& token = kToken) {
  return {"Bearer " + token, body};
}

std::string Delivered(const std::string& id) {
  return json{{"id", id}, {"status", "delivered"}, {"text", "by the modem"}}.dump();
}

}  // namespace

TEST_CASE("http gateway: an SMS is posted whole, with the token, and 2xx is sent") {
  Server server({202});
  Reports reports;
  HttpGateway gateway(server.Options(), reports.Sink());
  gateway.Send(Sms(18'364'758'544'493'064'720U, Timestamp{9'000'000'000'000}));
  CHECK(reports.Next() == "18364758544493064720 sent: the gateway answered 202");
  REQUIRE(server.Heard().size() == 1);
  CHECK(server.Heard()[0] == json{{"id", "18364758544493064720"},
                                  {"to", "+436601234567"},
                                  {"data_base64", "Av/+"},
                                  {"expires_at_ms", 9'000'000'000'000},
                                  {"callback", "http://127.0.0.1:9464/v1/sms/report"}});
  CHECK(server.Authorization() == std::string("Bearer ") + kToken);
}

TEST_CASE("http gateway: a server in trouble is asked again, one that says no is not") {
  Reports reports;
  {
    Server server({503, 429, 200});
    HttpGateway gateway(server.Options(), reports.Sink());
    gateway.Send(Sms(1));
    CHECK(reports.Next() == "1 sent: the gateway answered 200");
    CHECK(server.Heard().size() == 3);
    CHECK(server.Heard()[0]["id"] == server.Heard()[2]["id"]);
    CHECK(server.Heard()[0]["expires_at_ms"].is_null());
  }
  {
    Server server({400});
    HttpGateway gateway(server.Options(), reports.Sink());
    gateway.Send(Sms(2));
    CHECK(reports.Next() == "2 failed: the gateway answered 400");
    CHECK(server.Heard().size() == 1);
  }
  {
    Server server({500});
    HttpGateway gateway(server.Options(), reports.Sink());
    gateway.Send(Sms(3));
    CHECK(reports.Next() == "3 failed: the gateway answered 500");
    CHECK(server.Heard().size() == 3);
  }
}

TEST_CASE("http gateway: nobody there, and nothing after expiry") {
  HttpSmsOptions options;
  {
    Server gone({200});
    options = gone.Options();
  }
  Reports reports;
  HttpGateway gateway(options, reports.Sink());
  gateway.Send(Sms(1));
  CHECK(reports.Next().find("1 failed: the gateway does not answer") == 0);
  gateway.Send(Sms(2, Timestamp{1}));
  CHECK(reports.Next() == "2 failed: it expired before the gateway took it");
}

TEST_CASE("http gateway: it stops at once, also while it waits to try again") {
  Server server({503});
  HttpSmsOptions options = server.Options();
  options.pauses = {std::chrono::hours(1)};
  Reports reports;
  const auto before = std::chrono::steady_clock::now();
  {
    HttpGateway gateway(options, reports.Sink());
    gateway.Send(Sms(1));
    while (server.Heard().empty()) {
      std::this_thread::yield();
    }
  }
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(10));
}

TEST_CASE("http gateway: a report counts with the token alone, once, and of an SMS that is known") {
  Server server({200});
  Reports reports;
  HttpGateway gateway(server.Options(), reports.Sink());
  gateway.Send(Sms(7));
  CHECK(reports.Next() == "7 sent: the gateway answered 200");
  CHECK(gateway.TakeReport(Post(Delivered("7"), "a-token-of-32-characters-or-so-2")).status == 401);
  CHECK(gateway.TakeReport({"", Delivered("7")}).status == 401);
  CHECK(gateway.TakeReport({kToken, Delivered("7")}).status == 401);
  CHECK(gateway.TakeReport(Post(Delivered("8"))).status == 404);
  for (const char* wrong : {"", "[]", "7", "{}", R"({"id": 7, "status": "delivered"})",
                            R"({"id": "7", "status": "read"})", R"({"id": "-7", "status": "sent"})",
                            R"({"id": "7x", "status": "sent"})", "{\"id\": \"7\xff\""}) {
    CHECK(gateway.TakeReport(Post(wrong)).status == 400);
  }
  CHECK(gateway.TakeReport(Post(std::string(kSmsPostBytesMax + 1, ' '))).status == 413);
  CHECK(gateway.TakeReport(Post(Delivered("7"))).status == 204);
  CHECK(reports.Next() == "7 delivered: by the modem");
  CHECK(gateway.TakeReport(Post(Delivered("7"))).status == 204);
  CHECK(reports.queue.size() == 0);
}

TEST_CASE("http gateway: the token's file is one word that nobody else can read") {
  std::string name = (fs::temp_directory_path() / "lk_token_XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  const fs::path path = fs::path(name) / "sms.token";
  const auto put = [&](const std::string& text, mode_t mode) {
    std::ofstream(path, std::ios::trunc) << text;
    ::chmod(path.c_str(), mode);
    const Result<std::string> token = ReadSmsToken(path);
    return token ? *token : "refused";
  };
  CHECK(ReadSmsToken(path).has_value() == false);
  CHECK(put(std::string(kToken) + "\n", 0600) == kToken);
  CHECK(put(std::string(kToken) + "\n", 0640) == "refused");
  CHECK(put("short", 0600) == "refused");
  CHECK(put("two words of sixteen", 0600) == "refused");
  CHECK(put(std::string(257, 'x'), 0600) == "refused");
  fs::remove_all(name);
}

TEST_CASE("http: reports come in by POST where a gateway takes them, and nowhere else") {
  storage::MemoryStore store;
  const int port = FreePort();
  std::vector<SmsPost> posts;
  const auto door = [&](const SmsPost& post) {
    posts.push_back(post);
    return SmsPostAnswer{401, "no"};
  };
  httplib::Client client("127.0.0.1", port);
  client.set_read_timeout(10);
  const httplib::Headers token = {{"Authorization", "Bearer x"}};
  {
    const auto http =
        Http::Listen("127.0.0.1", port, store, [] { return Status(); }, {.sms_post = door});
    REQUIRE(http.has_value());
    CHECK(client.Post("/v1/sms/report", token, "words", "application/json")->status == 401);
    REQUIRE(posts.size() == 1);
    CHECK(posts[0].authorization == "Bearer x");
    CHECK(posts[0].body == "words");
    const std::string large(kSmsPostBytesMax + 1, 'x');
    CHECK(client.Post("/v1/sms/report", token, large, "application/json")->status == 413);
    const httplib::Headers elsewhere = {{"Host", "evil.example"}, {"Authorization", "Bearer x"}};
    CHECK(client.Post("/v1/sms/report", elsewhere, "words", "application/json")->status == 403);
    CHECK(posts.size() == 1);
  }
  const auto http = Http::Listen("127.0.0.1", port, store, [] { return Status(); });
  REQUIRE(http.has_value());
  CHECK(client.Post("/v1/sms/report", token, "words", "application/json")->status != 200);
  CHECK(client.Get("/healthz")->status == 200);
}

}  // namespace latchkey::bridge
