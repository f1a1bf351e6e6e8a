// The queue between threads: bounds, tickets, closing.
#include "bridge/queue.h"

#include <chrono>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

namespace latchkey::bridge {

using std::chrono_literals::operator""s;

TEST_CASE("queue: items come out in order, at most as many as asked for") {
  BoundedQueue<int> queue(3);
  for (const int item : {1, 2, 3}) {
    CHECK(queue.Put(item, Duration(0)).has_value());
  }
  CHECK(queue.Drain(2, Duration(0)) == std::vector<int>{1, 2});
  CHECK(queue.Drain(2, Duration(0)) == std::vector<int>{3});
  CHECK(queue.Drain(2, Duration(0)).empty());
}

TEST_CASE("queue: at its bound it takes nothing but what must not be lost") {
  BoundedQueue<int> queue(1);
  CHECK(queue.Put(1, Duration(0)).has_value());
  CHECK_FALSE(queue.Put(2, Duration(0)).has_value());
  CHECK(queue.PutAlways(3).has_value());
  CHECK(queue.Drain(9, Duration(0)) == std::vector<int>{1, 3});
}

TEST_CASE("queue: who waits for room gets it when something is taken out") {
  BoundedQueue<int> queue(1);
  queue.PutAlways(1);
  bool put = false;
  std::thread writer([&] { put = queue.Put(2, 10s).has_value(); });
  std::vector<int> got;
  while (got.size() < 2) {
    for (const int item : queue.Drain(1, 10s)) {
      got.push_back(item);
    }
  }
  writer.join();
  CHECK(put);
  CHECK(got == std::vector<int>{1, 2});
}

TEST_CASE("queue: who gathers gets what comes while it waits, and no more than asked for") {
  BoundedQueue<int> queue(9);
  queue.PutAlways(1);
  std::thread writer([&] {
    for (const int item : {2, 3, 4}) {
      queue.PutAlways(item);
    }
  });
  CHECK(queue.Drain(9, 10s, {4, 10s}) == std::vector<int>{1, 2, 3, 4});
  writer.join();
  for (const int item : {5, 6, 7}) {
    queue.PutAlways(item);
  }
  CHECK(queue.Drain(2, 10s, {3, 10s}) == std::vector<int>{5, 6});
}

TEST_CASE(
    "queue: gathering ends with its time, with a wake, at the bound, and needs a first item") {
  BoundedQueue<int> queue(2);
  CHECK(queue.Drain(9, Duration(1), {2, 60s}).empty());
  queue.PutAlways(1);
  CHECK_MESSAGE((queue.Drain(9, 60s, {2, Duration(1)}) == std::vector<int>{1}), "its time");
  queue.PutAlways(2);
  queue.Wake();
  CHECK_MESSAGE((queue.Drain(9, 60s, {2, 60s}) == std::vector<int>{2}), "a wake");
  queue.PutAlways(3);
  queue.PutAlways(4);
  CHECK_MESSAGE((queue.Drain(9, 60s, {3, 60s}) == std::vector<int>{3, 4}), "more than fit");
}

TEST_CASE("queue: a ticket is finished when its item was drained and finished, not before") {
  BoundedQueue<int> queue(9);
  const auto first = queue.Put(1, Duration(0));
  REQUIRE(first.has_value());
  queue.Finish();
  CHECK_FALSE(queue.WaitFinished(*first, Duration(0)));
  queue.Drain(1, Duration(0));
  CHECK_FALSE(queue.WaitFinished(*first, Duration(0)));
  const auto second = queue.Put(2, Duration(0));
  REQUIRE(second.has_value());
  queue.Finish();
  CHECK(queue.WaitFinished(*first, Duration(0)));
  CHECK_FALSE(queue.WaitFinished(*second, Duration(0)));
}

TEST_CASE("queue: closed, it gives out what is in and takes nothing") {
  BoundedQueue<int> queue(9);
  queue.PutAlways(1);
  queue.Close();
  CHECK_FALSE(queue.Put(2, 10s).has_value());
  CHECK_FALSE(queue.PutAlways(2).has_value());
  CHECK(queue.Drain(9, 10s) == std::vector<int>{1});
}

TEST_CASE("queue: abandoned, nobody goes on waiting for a ticket") {
  BoundedQueue<int> queue(9);
  const auto ticket = queue.Put(1, Duration(0));
  REQUIRE(ticket.has_value());
  std::thread other([&] { queue.Abandon(); });
  CHECK_FALSE(queue.WaitFinished(*ticket, 60s));
  other.join();
}

}  // namespace latchkey::bridge
