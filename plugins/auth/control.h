// What is asked on the control topic, done to the blocks, and the answer to it. control.proto says
// what travels; who may ask is access's to say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "latchkey/v1/control.pb.h"
#include "proto/blocks.h"
#include "proto/message.h"
#include "proto/result.h"

namespace latchkey::auth {

inline constexpr size_t kControlTextBytesMax = 256;

struct Controlled {
  v1::ControlAnswer answer;
  std::vector<Block> changed;  // what the request changed, as it is held now
};

// Does the serialized v1.Control in `payload`, all of it or nothing. Reasons in the answer:
// REASON_TOO_LARGE (bytes or blocks), REASON_MALFORMED (no request, or a block that cannot be),
// REASON_FULL (the blocks would not fit). request_id is echoed when the payload could be read.
Controlled DoControl(std::string_view payload, Blocks& blocks);

// The keys of those that stand: their phones are to be disconnected.
std::vector<KeyId> KeysToDrop(const std::vector<Block>& changed);

// What bridges are told about a change of at most kBlocksPerMessageMax blocks.
Publish TellBlocksChanged(const std::vector<Block>& changed);

// One block as the ring file holds it, and back. Error REASON_MALFORMED.
std::string BlockRecord(const Block& block);
Result<Block> BlockOfRecord(std::string_view record);

// "{key}", "{key} {fleet}" or "{key} {fleet}/{car}".
std::string ScopeText(const BlockScope& scope);

}  // namespace latchkey::auth
