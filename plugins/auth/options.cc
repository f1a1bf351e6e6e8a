// Reading options by name; what they name is read by others.
#include "plugins/auth/options.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "plugins/auth/joined.h"

namespace latchkey::auth {

namespace {

// Empty: `rate` stays as it is.
Result<void> TakeRate(const std::string& name, const std::string& text, Rate& rate) {
  if (!text.empty()) {
    const Result<Rate> read = ParseRate(text);
    if (!read) {
      return Fail(read.error().reason, "plugin_opt_" + name + ": " + read.error().text);
    }
    rate = *read;
  }
  return {};
}

}  // namespace

Result<Options> ReadOptions(const std::vector<broker::Option>& given) {
  Options options;
  std::string rate;
  std::string admit;

  struct Known {
    std::string_view key;
    std::string* value;
    bool needed;
  };

  const std::array<Known, 8> known = {{{"cell", &options.trust.cell, true},
                                       {"cell_ca", &options.trust.cell_ca, true},
                                       {"cell_crl", &options.trust.cell_crl, false},
                                       {"fleet_ca_dir", &options.trust.fleet_ca_dir, true},
                                       {"ring_file", &options.ring_file, true},
                                       {"broker", &options.broker, false},
                                       {"rate_sign_in", &rate, false},
                                       {"admit_rate", &admit, false}}};
  for (const broker::Option& option : given) {
    const auto* const row = std::find_if(known.begin(), known.end(),
                                         [&](const Known& k) { return k.key == option.key; });
    if (row == known.end()) {
      return Fail(v1::REASON_MALFORMED,
                  "plugin_opt_" + option.key +
                      " is not an option of latchkey_auth; it has cell, cell_ca, cell_crl, "
                      "fleet_ca_dir, ring_file, broker, rate_sign_in, admit_rate");
    }
    *row->value = option.value;
  }
  for (const Known& row : known) {
    if (row.needed && row.value->empty()) {
      return Fail(v1::REASON_MALFORMED,
                  "plugin_opt_" + std::string(row.key) + " is missing or empty: set it");
    }
  }
  if (!options.broker.empty() && !IsBrokerName(options.broker)) {
    return Fail(v1::REASON_MALFORMED,
                "plugin_opt_broker is not up to 32 letters, digits, '-' or '_': name it so");
  }
  LK_CHECK(TakeRate("rate_sign_in", rate, options.rate_sign_in));
  LK_CHECK(TakeRate("admit_rate", admit, options.admit_rate));
  return options;
}

}  // namespace latchkey::auth
