// Links as people scan and paste them, and addresses of brokers as they type them: whatever the
// text, every kind reads it, and at most one takes it.
#include <string>

#include "proto/invite.h"
#include "proto/pairing.h"
#include "tests/fuzz/fuzz.h"
#include "tools/mqtt/brokers.h"

namespace latchkey::fuzz {

void Try(std::string_view input) {
  int taken = 0;
  const Result<PairingOffer> offer = ParseQrText(input);
  if (offer) {
    ++taken;
    Require(ToQrText(ParseQrText(ToQrText(*offer)).value()) == ToQrText(*offer),
            "an offer that parses is written so that it parses alike");
  }
  const Result<KeyRequest> request = ParseKeyRequest(input);
  if (request) {
    ++taken;
    Require(request->label.size() <= kLabelBytesMax, "a label keeps its bound");
    Require(ToLink(ParseKeyRequest(ToLink(*request)).value()) == ToLink(*request),
            "so is a key request");
  }
  const Result<Invitation> invitation = ParseInvitation(input);
  if (invitation) {
    ++taken;
    Require(ToLink(ParseInvitation(ToLink(*invitation)).value()) == ToLink(*invitation),
            "and an invitation");
  }
  const Result<tools::BrokerAddress> broker = tools::ParseBrokerAddress(input);
  if (broker) {
    ++taken;
    Require(tools::ParseBrokerAddress(broker->ToText()).value() == *broker,
            "an address that parses is written so that it parses alike");
  }
  Require(taken <= 1, "a link is of one kind");
}

}  // namespace latchkey::fuzz
