// Which rows of the threat table have no case here, and why.
#include "tests/attacks/attack.h"

namespace latchkey::attacks {

const std::vector<std::string>& ThreatRows() {
  static const std::vector<std::string> rows = {"T1",
                                                "T2",
                                                "T3",
                                                "T4",
                                                "T5",
                                                "T6",
                                                "T7",
                                                "T8",
                                                "T9",
                                                "T10",
                                                "T11",
                                                "T12",
                                                "T13",
                                                "T14",
                                                "T15",
                                                "T16",
                                                "T17",
                                                "T18",
                                                "T19",
                                                "T20",
                                                "T21",
                                                "T22",
                                                "T23",
                                                "T24",
                                                "T25",
                                                "T26",
                                                "CVE-2017-7650",
                                                "CVE-2017-7651",
                                                "CVE-2017-7654",
                                                "CVE-2021-41039",
                                                "CVE-2017-7652",
                                                "CVE-2018-12546",
                                                "CVE-2018-12550",
                                                "CVE-2018-12551",
                                                "CVE-2018-12543",
                                                "CVE-2021-34432",
                                                "CVE-2021-28166",
                                                "CVE-2021-34434",
                                                "2.0.12-QoS2",
                                                "2.0.16-will",
                                                "CVE-2020-13849",
                                                "CVE-2023-28366",
                                                "CVE-2023-0809",
                                                "CVE-2023-3592",
                                                "CVE-2024-8376",
                                                "CVE-2024-3935",
                                                "CVE-2024-10525"};
  return rows;
}

const std::vector<NotCovered>& NotCoveredRows() {
  static const std::vector<NotCovered> rows = {
      {"T2", "an outage by migration, not an attack: the migration's own tests are to show it"},
      {"T5 (part)",
       "forged, repeated and late SMS: proto/sms_test.cc and tools/car/sms_test.cc try them"},
      {"T9 (part)", "a plugin cannot see listeners: that they have TLS is `latchkey fleet init`'s"},
      {"T19 (part)", "how long places are kept, and a store that is read by its thief"},
      {"T22 (part)",
       "a record for the owner of what staff read: it is in the cell's log, which staff read"},
      {"T23 (part)",
       "core dumps: the host's limits decide; no key is in a log, file modes are checked"},
      {"CVE-2023-28366", "a leak of hours; fixed in 2.0.16, and in Debian's 2.0.11"},
      {"CVE-2024-3935",
       "a PUBLISH with a wildcard to a bridge connection that remaps topics: those between brokers "
       "of a cell remap none, and the other end proves by TLS that it is a broker of the cell; "
       "fixed in 2.0.19, and in Debian's 2.0.11"},
      {"CVE-2024-10525",
       "a fault of libmosquitto's client, which nothing here uses; fixed as the one above"},
  };
  return rows;
}

}  // namespace latchkey::attacks
