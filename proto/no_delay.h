// Sends small packets at once on connections that a library has made. Nagle's algorithm keeps a
// second small packet back until the first is acknowledged, and the other side waits up to 40 ms
// with that: paho's C client sends an MQTT packet in pieces and has neither an option for it nor a
// way to ask for its socket.
#pragma once

#include <cstddef>
#include <cstdint>

namespace latchkey {

// Descriptors from here on are not looked at, so that a call costs at most about 0.2 ms: a process
// of so many connections is not one in which somebody waits for a single message.
inline constexpr int kDescriptorsLookedAt = 1024;

// Sets TCP_NODELAY on every TCP connection of this process to that port of another side, IPv4 or
// IPv6. How many there are. Any thread may call it: of a descriptor that is closed and opened again
// meanwhile the worst is a connection that sends at once, too.
size_t SendAtOnceTo(uint16_t port);

}  // namespace latchkey
