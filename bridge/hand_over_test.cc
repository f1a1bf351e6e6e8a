// The conversation of two bridges, and what is given with the place.
#include "bridge/hand_over.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/socket.h>

namespace latchkey::bridge {

namespace {

namespace fs = std::filesystem;

HandedOver Some() {
  return {true,
          {{"lk/1/demo/a/receipt/k", std::string("p\0q", 3), 1, Retain::kNo, 30},
           {"lk/1/demo/a/state/body", "", 0, Retain::kYes, 0}}};
}

struct Room {
  Room() {
    // Longer than a socket's name may be.
    std::string name = (fs::temp_directory_path() / "lk_hand_over_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root = name;
    folder = root / std::string(150, 'l');
    fs::create_directory(folder);
  }

  ~Room() {
    door.reset();
    fs::remove_all(root);
  }

  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  void Listen() {
    auto listening =
        HandOverDoor::Listen(folder, {[this] {
                                        ++prepared;
                                        return Result<void>();
                                      },
                                      [this] { return refusal; }, [this] { asked = true; }});
    REQUIRE(listening);
    door = *std::move(listening);
  }

  std::unique_ptr<HandOverCall> Call() const {
    auto call = HandOverCall::Connect(folder);
    REQUIRE(call);
    return *std::move(call);
  }

  fs::path root;
  fs::path folder;
  std::atomic<int> prepared = 0;
  std::atomic<bool> asked = false;
  std::string refusal;
  std::unique_ptr<HandOverDoor> door;
};

}  // namespace

TEST_CASE("handed over: words come back as they went, and no other bytes are taken") {
  const std::string bytes = EncodeHandedOver(Some());
  CHECK(DecodeHandedOver(bytes) == Some());
  CHECK(DecodeHandedOver(EncodeHandedOver({})) == HandedOver{});
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto decoded = DecodeHandedOver(bytes.substr(0, i));
    CHECK((!decoded || decoded->words.size() < 2));
  }
  CHECK_FALSE(DecodeHandedOver("\2"));
  CHECK_FALSE(DecodeHandedOver(bytes + "x"));
}

TEST_CASE("handed over: what is too much is left out, and then the session is shown again") {
  HandedOver much{true, {}};
  for (int i = 0; i < 20; ++i) {
    much.words.push_back({"t", std::string(size_t{1} << 20, 'p'), 1, Retain::kNo, 0});
  }
  const std::string bytes = EncodeHandedOver(much);
  CHECK(bytes.size() <= kHandedOverBytesMax);
  const auto decoded = DecodeHandedOver(bytes);
  REQUIRE(decoded);
  CHECK_FALSE(decoded->kept);
  CHECK(decoded->words.size() == 7);
}

TEST_CASE("hand over: prepare, yield, serve") {
  Room room;
  CHECK(room.Call() == nullptr);
  room.Listen();
  const auto call = room.Call();
  REQUIRE(call != nullptr);
  CHECK(call->pid() == ::getpid());
  CHECK(call->Prepare());
  CHECK(room.prepared == 1);
  std::thread old([&room] {
    while (!room.asked) {
      std::this_thread::yield();
    }
    room.door->Close();
    room.door->Give(Some());
  });
  const auto handed = call->Yield();
  old.join();
  REQUIRE(handed);
  REQUIRE(handed->has_value());
  CHECK(**handed == Some());
  CHECK(room.Call() == nullptr);  // the next one listens there
  call->Serving();
  CHECK(room.door->AwaitServing(std::chrono::seconds(10)));
}

TEST_CASE("hand over: one that is refused, hangs up or talks nonsense changes nothing") {
  Room room;
  room.refusal = "the disk is full";
  room.Listen();
  {
    const auto call = room.Call();
    const auto handed = call->Yield();
    REQUIRE_FALSE(handed);
    CHECK(handed.error().text.find("the disk is full") != std::string::npos);
  }
  {
    const auto call = room.Call();
    call->Serving();  // nothing was handed over
    CHECK_FALSE(call->Prepare());
  }
  const auto call = room.Call();
  CHECK(call->Prepare());
  CHECK_FALSE(room.asked);
}

TEST_CASE("hand over: the one that asked dies before it serves") {
  Room room;
  room.Listen();
  std::thread successor([&room] {
    const auto call = room.Call();
    static_cast<void>(call->Yield());
  });
  while (!room.asked) {
    std::this_thread::yield();
  }
  room.door->Close();
  room.door->Give({});
  successor.join();
  CHECK_FALSE(room.door->AwaitServing(std::chrono::seconds(10)));
}

TEST_CASE("hand over: a dead bridge's socket is in nobody's way") {
  Room room;
  std::ofstream(room.folder / kHandOverSocket) << "left behind";
  CHECK(room.Call() == nullptr);
  room.Listen();
  CHECK(room.Call() != nullptr);
}

}  // namespace latchkey::bridge
