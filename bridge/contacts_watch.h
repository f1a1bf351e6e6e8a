// Looks at the folder of contacts on a thread of its own, since it may hold many.
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "bridge/config.h"
#include "bridge/queue.h"
#include "bridge/runner.h"

namespace latchkey::bridge {

// Not copyable. From its making to its end. Without a gateway nobody looks: no car has a number
// then, and none is woken in vain.
class ContactsWatch {
 public:
  // `intake` outlives it and is told of all contacts when they have changed.
  ContactsWatch(const Config::Sms& sms, Duration look_every, Intake& intake);
  ~ContactsWatch();
  ContactsWatch(const ContactsWatch&) = delete;
  ContactsWatch& operator=(const ContactsWatch&) = delete;

 private:
  void Watch(const std::string& folder, Intake& intake);

  const Duration look_every_;
  std::atomic<bool> over_ = false;
  BoundedQueue<int> rest_{1};  // closed with over_, so that nobody rests on
  std::thread thread_;
};

}  // namespace latchkey::bridge
