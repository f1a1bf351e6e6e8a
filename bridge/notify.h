// What a service manager is told (systemd, Type=notify): one datagram to the socket that
// NOTIFY_SOCKET names.
#pragma once

#include <string_view>

namespace latchkey::bridge {

// `READY=1`, `STOPPING=1`, `MAINPID=4711`. Does nothing when nobody asked to be told; what cannot
// be sent is not sent.
void NotifyManager(std::string_view state);

}  // namespace latchkey::bridge
