// Records of the log as they come from a disk or an export. The first byte says which: 'r' a
// record, 'e' an entry that the record is made for here, 'h' a head as somebody wrote it down.
#include <string>

#include "proto/crypto.h"
#include "proto/log_chain.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  if (input.empty()) {
    return;
  }
  const std::string_view rest = input.substr(1);
  if (input[0] == 'r') {
    const Result<LogLink> link = OpenLogRecord(rest);
    if (link) {
      Require(link->head.sequence == link->before.sequence + 1, "a record is one link");
      Require(CheckFollows(link->before, *link).has_value(), "it follows what it names");
      Require(!CheckFollows(link->head, *link), "and not itself");
    }
    return;
  }
  if (input[0] == 'h') {
    const std::optional<LogHead> head = ParseLogHead(rest);
    Require(!head || ParseLogHead(ToText(*head)) == head, "a head is written and read alike");
    return;
  }
  auto entry = FromWire<v1::LogEntry>(rest, 2 * kLogEntryBytesMax);
  if (!entry || !TimeFromWire(entry->at_ms())) {
    return;
  }
  entry->set_salt(std::string(16, 's'));
  entry->set_command_id(std::string(16, 'i'));
  LogHead head;
  const std::string bytes = AppendToLog(head, *entry);
  const Result<LogLink> link = OpenLogRecord(bytes);
  Require(link.has_value() && link->head == head, "what is appended opens");
  Require(CheckFollows(LogHead{}, *link).has_value(), "as the first of its log");
  Require(link->entry && link->entry->note().size() <= 256, "with a note that was cut");
}

}  // namespace latchkey::fuzz
