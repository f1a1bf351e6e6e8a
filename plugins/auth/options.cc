// Reading options by name; what they name is read by others.
#include "plugins/auth/options.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace latchkey::auth {

Result<Options> ReadOptions(const std::vector<broker::Option>& given) {
  Options options;
  std::string rate;

  struct Known {
    std::string_view key;
    std::string* value;
    bool needed;
  };

  const std::array<Known, 6> known = {{{"cell", &options.trust.cell, true},
                                       {"cell_ca", &options.trust.cell_ca, true},
                                       {"cell_crl", &options.trust.cell_crl, false},
                                       {"fleet_ca_dir", &options.trust.fleet_ca_dir, true},
                                       {"ring_file", &options.ring_file, true},
                                       {"rate_sign_in", &rate, false}}};
  for (const broker::Option& option : given) {
    const auto* const row = std::find_if(known.begin(), known.end(),
                                         [&](const Known& k) { return k.key == option.key; });
    if (row == known.end()) {
      return Fail(v1::REASON_MALFORMED,
                  "plugin_opt_" + option.key +
                      " is not an option of latchkey_auth; it has cell, cell_ca, cell_crl, "
                      "fleet_ca_dir, ring_file, rate_sign_in");
    }
    *row->value = option.value;
  }
  for (const Known& row : known) {
    if (row.needed && row.value->empty()) {
      return Fail(v1::REASON_MALFORMED,
                  "plugin_opt_" + std::string(row.key) + " is missing or empty: set it");
    }
  }
  if (!rate.empty()) {
    const Result<Rate> read = ParseRate(rate);
    if (!read) {
      return Fail(read.error().reason, "plugin_opt_rate_sign_in: " + read.error().text);
    }
    options.rate_sign_in = *read;
  }
  return options;
}

}  // namespace latchkey::auth
