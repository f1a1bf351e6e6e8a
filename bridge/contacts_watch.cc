// See contacts_watch.h.
#include "bridge/contacts_watch.h"

#include <optional>
#include <utility>

#include "bridge/contacts_folder.h"
#include "bridge/log.h"

namespace latchkey::bridge {

ContactsWatch::ContactsWatch(const Config::Sms& sms, Duration look_every, Intake& intake)
    : look_every_(look_every) {
  if (sms.gateway != "none") {
    thread_ = std::thread([this, folder = sms.contacts_dir, &intake] { Watch(folder, intake); });
  }
}

ContactsWatch::~ContactsWatch() {
  over_ = true;
  rest_.Close();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ContactsWatch::Watch(const std::string& folder, Intake& intake) {
  ContactsFolder contacts(folder, Log);
  while (!over_) {
    if (std::optional<Contacts> changed = contacts.Poll()) {
      Log(LogEvent{
          LogEvent::Level::kInfo, "contacts_read", {{"cars", std::to_string(changed->size())}}});
      intake.PutAlways(*std::move(changed));
    }
    rest_.Rest(look_every_);
  }
}

}  // namespace latchkey::bridge
