// Key requests and invitations as links.
#include "proto/invite.h"

#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <google/protobuf/stubs/common.h>

#include "proto/keyring.h"
#include "proto/link.h"

namespace latchkey {
namespace {

constexpr std::array<std::string_view, 3> kRequestNames = {"v", "k", "n"};
constexpr LinkKind kRequest = {"key request", "latchkey://key?", kRequestNames,
                               "have the guest's phone show it again"};
constexpr std::array<std::string_view, 7> kInvitationNames = {"v", "h", "p", "cell", "f", "c", "k"};
constexpr LinkKind kInvitation = {"invitation", "latchkey://invite?", kInvitationNames,
                                  "have the owner's phone show it again"};

// nullopt: not base64url of a compressed point.
std::optional<PublicKey> ReadPoint(std::string_view text) {
  const std::optional<std::string> point = Base64UrlDecode(text);
  if (!point || point->size() != kPublicKeyBytes) {
    return std::nullopt;
  }
  Result<PublicKey> key = PublicKey::FromPoint(*point);
  return key ? std::optional(std::move(*key)) : std::nullopt;
}

bool IsUtf8(std::string_view text) {
  return google::protobuf::internal::IsStructurallyValidUTF8(text.data(),
                                                             static_cast<int>(text.size()));
}

}  // namespace

std::string ToLink(const KeyRequest& request) {
  LK_ASSERT(request.label.size() <= kLabelBytesMax && IsUtf8(request.label));
  return std::string(kRequest.prefix) + "v=1&k=" + Base64UrlEncode(request.key.ToPoint()) +
         "&n=" + Base64UrlEncode(request.label);
}

Result<KeyRequest> ParseKeyRequest(std::string_view text) {
  LK_TRY(const std::vector<std::string_view> values, SplitLink(text, kRequest));
  std::optional<PublicKey> key = ReadPoint(values[1]);
  if (!key) {
    return BadLink(kRequest, "has a key that is not a point of P-256");
  }
  std::optional<std::string> label = Base64UrlDecode(values[2]);
  if (!label || label->size() > kLabelBytesMax || !IsUtf8(*label)) {
    return BadLink(kRequest, "has a name that is not UTF-8 of at most 64 bytes");
  }
  return KeyRequest{std::move(*key), std::move(*label)};
}

std::string ToLink(const Invitation& invitation) {
  return std::string(kInvitation.prefix) + "v=1&" +
         PlaceText({invitation.host, invitation.port, invitation.cell, invitation.ref}) +
         "&k=" + Base64UrlEncode(invitation.car_key.ToPoint());
}

Result<Invitation> ParseInvitation(std::string_view text) {
  LK_TRY(const std::vector<std::string_view> values, SplitLink(text, kInvitation));
  LK_TRY(LinkPlace place, ReadPlace(std::span(values).subspan(1, 5), kInvitation));
  std::optional<PublicKey> key = ReadPoint(values[6]);
  if (!key) {
    return BadLink(kInvitation, "has a key of the car that is not a point of P-256");
  }
  return Invitation{std::move(place.host), place.port, std::move(place.cell), std::move(place.ref),
                    std::move(*key)};
}

}  // namespace latchkey
