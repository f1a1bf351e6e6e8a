// The tables of an OVMS server, row by row; what a message says is in ovms_message.cc.
#include "tools/import/ovms.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tools/import/sql_dump.h"

namespace latchkey::legacy {

namespace {

constexpr std::string_view kAccounts =
    "an account: a server can grant nothing, its people pair with their cars by an invitation";

std::string ValueOf(const SqlRow& row, const std::string& column) {
  const auto found = row.values.find(column);
  return found == row.values.end() ? "" : found->second.value_or("");
}

std::string WhereOf(const SqlRow& row) {
  return row.table + " row " + std::to_string(row.number);
}

// A car of a server belongs to an owner: two owners may have given theirs the same id.
std::string VehicleOf(const SqlRow& row) {
  return ValueOf(row, "owner") + "/" + ValueOf(row, "vehicleid");
}

class Server {
 public:
  explicit Server(Reading& out) : out_(out) {}

  void Take(const SqlRow& row) {
    if (messages_.size() + out_.refused.size() > kRecordsMax) {
      ++too_many_;
      return;
    }
    if (row.table == "ovms_carmessages") {
      messages_.push_back(row);
      NoteUnits(row);
    } else if (row.table == "ovms_cars") {
      const bool deleted = ValueOf(row, "deleted") != "0" && !ValueOf(row, "deleted").empty();
      if (deleted) {
        deleted_.insert(VehicleOf(row));
      }
      Refuse(row, deleted ? "a car that its owner has deleted"
                          : "names a car, and its state is in ovms_carmessages; its passwords and "
                            "telephone number are not taken over");
    } else if (row.table == "ovms_historicalmessages") {
      Refuse(row, "a historical record of type " + Shown(ValueOf(row, "h_recordtype")) +
                      ", which has no signal here");
    } else if (row.table.rfind("ovms_", 0) == 0) {
      Refuse(row, std::string(kAccounts));
    } else {
      Refuse(row, "a table that is not of an OVMS server");
    }
  }

  void Finish() {
    for (const SqlRow& row : messages_) {
      TakeMessage(row);
    }
    if (too_many_ > 0) {
      out_.refused.push_back({"the rest of the dump", std::to_string(too_many_) +
                                                          " rows above the 200000 that are read "
                                                          "at a time: split it"});
    }
  }

 private:
  void Refuse(const SqlRow& row, std::string why) {
    out_.refused.push_back({WhereOf(row), std::move(why)});
  }

  void NoteUnits(const SqlRow& row) {
    if (ValueOf(row, "m_code") == "S") {
      const std::string text = ValueOf(row, "m_msg");
      const size_t comma = text.find(',');
      units_[VehicleOf(row)] = comma == std::string::npos ? "" : text.substr(comma + 1, 1);
    }
  }

  void TakeMessage(const SqlRow& row) {
    const std::string vehicle = VehicleOf(row);
    const std::string code = ValueOf(row, "m_code");
    const std::string paranoid = ValueOf(row, "m_paranoid");
    if (ValueOf(row, "vehicleid").empty() || code.size() != 1) {
      return Refuse(row, "names no car, or no kind of message");
    }
    if (deleted_.count(vehicle) > 0) {
      return Refuse(row, "of a car that its owner has deleted");
    }
    if (code == "E" || (paranoid != "0" && !paranoid.empty())) {
      return Refuse(row, "encrypted by its owner (paranoid mode): only the owner's phone reads it");
    }
    if (ValueOf(row, "m_valid") == "0") {
      return Refuse(row, "marked as not valid by the server");
    }
    const auto at = TimeOf(ValueOf(row, "m_msgtime"), WithoutZone::kUtc);
    const auto units = units_.find(vehicle);
    const std::string unit = units == units_.end() ? "" : units->second;
    const OvmsMessage message{code.front(), ValueOf(row, "m_msg"), unit == "M",
                              unit == "M" || unit == "K"};
    RecordMaker record(WhereOf(row), vehicle, at.value_or(Timestamp{1}));
    const bool is_state = TakeOvmsMessage(message, record, out_.not_kept);
    if (!is_state) {
      return Refuse(row, "a message of code " + Shown(code) + " carries no state");
    }
    if (!at) {
      return Refuse(row, "says no time of its own");
    }
    std::move(record).FinishInto(out_, "a message without any value");
  }

  Reading& out_;
  std::vector<SqlRow> messages_;
  std::map<std::string, std::string> units_;  // "M" or "K" by vehicle
  std::set<std::string> deleted_;
  size_t too_many_ = 0;
};

}  // namespace

void ReadOvmsDump(const SourceFile& file, Reading& out) {
  Server server(out);
  const size_t before = out.refused.size() + out.records.size();
  ReadSqlDump(
      file.bytes, [&](const SqlRow& row) { server.Take(row); },
      [&](const SqlFault& fault) {
        out.refused.push_back({"byte " + std::to_string(fault.at), fault.why});
      });
  server.Finish();
  if (out.refused.size() + out.records.size() == before) {
    out.refused.push_back({file.name, "holds no rows of an OVMS server: is it a MySQL dump?"});
  }
}

}  // namespace latchkey::legacy
