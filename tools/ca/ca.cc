// X.509 as a cell and its fleets need it: P-256, SHA-256, version 3, random serial numbers.
#include "tools/ca/ca.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "proto/crypto.h"

namespace latchkey::tools {

namespace {

template <auto Function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};

using X509Pointer = std::unique_ptr<X509, Free<X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using Address = std::unique_ptr<ASN1_OCTET_STRING, Free<ASN1_OCTET_STRING_free>>;

constexpr int64_t kHourSeconds = 3600;
constexpr int64_t kDaySeconds = 24 * kHourSeconds;
constexpr size_t kCommonNameBytesMax = 64;
constexpr size_t kHostBytesMax = 253;
constexpr size_t kHostsMax = 32;

// What differs between certificates.
struct Wish {
  std::string common_name;
  Timestamp now;
  int days = 0;
  std::vector<std::pair<int, std::string>> extensions;  // NID and OpenSSL's text for it
};

// Who signs: both null for a self-signed certificate.
struct Issuer {
  X509* certificate = nullptr;
  EVP_PKEY* key = nullptr;
};

KeyPointer ReadKey(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  LK_ASSERT(bio != nullptr);
  return KeyPointer(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}

X509Pointer ReadCertificate(const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  LK_ASSERT(bio != nullptr);
  return X509Pointer(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

std::string WritePem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  LK_ASSERT(bio != nullptr && PEM_write_bio_X509(bio.get(), certificate) == 1);
  std::string pem(16384, '\0');
  const int length = BIO_read(bio.get(), pem.data(), static_cast<int>(pem.size()));
  LK_ASSERT(length > 0 && static_cast<size_t>(length) < pem.size());
  pem.resize(static_cast<size_t>(length));
  return pem;
}

// 127 random bits: positive, at most 20 bytes (RFC 5280 section 4.1.2.2).
void SetSerial(X509* certificate) {
  std::string bytes = RandomBytes(16);
  bytes[0] = static_cast<char>(bytes[0] & 0x7f);
  const Number number(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), 16, nullptr));
  LK_ASSERT(number != nullptr &&
            BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

void SetTimes(X509* certificate, Timestamp now, int days) {
  const int64_t now_s = now.ms / 1000;
  LK_ASSERT(ASN1_TIME_set(X509_getm_notBefore(certificate), now_s - kHourSeconds) != nullptr);
  LK_ASSERT(ASN1_TIME_set(X509_getm_notAfter(certificate), now_s + days * kDaySeconds) != nullptr);
}

void SetCommonName(X509* certificate, const std::string& name) {
  LK_ASSERT(!name.empty() && name.size() <= kCommonNameBytesMax);
  LK_ASSERT(X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                       MBSTRING_UTF8,
                                       reinterpret_cast<const unsigned char*>(name.data()),
                                       static_cast<int>(name.size()), -1, 0) == 1);
}

Issued Make(const Wish& wish, Issuer issuer) {
  const std::string key_pem = PrivateKey::Generate().ToPem();
  const KeyPointer key = ReadKey(key_pem);
  const X509Pointer certificate(X509_new());
  LK_ASSERT(key != nullptr && certificate != nullptr);
  if (issuer.certificate == nullptr) {
    issuer = {certificate.get(), key.get()};
  }
  LK_ASSERT(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  SetSerial(certificate.get());
  SetTimes(certificate.get(), wish.now, wish.days);
  SetCommonName(certificate.get(), wish.common_name);
  LK_ASSERT(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.certificate)) ==
            1);
  LK_ASSERT(X509_set_pubkey(certificate.get(), key.get()) == 1);
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer.certificate, certificate.get(), nullptr, nullptr, 0);
  for (const auto& [nid, text] : wish.extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, text.c_str()));
    LK_ASSERT(extension != nullptr);
    LK_ASSERT(X509_add_ext(certificate.get(), extension.get(), -1) == 1);
  }
  LK_ASSERT(X509_sign(certificate.get(), issuer.key, EVP_sha256()) > 0);
  return {WritePem(certificate.get()), key_pem};
}

Result<Issued> MakeSigned(const Wish& wish, const Issued& ca) {
  const X509Pointer certificate = ReadCertificate(ca.certificate_pem);
  const KeyPointer key = ReadKey(ca.private_key_pem);
  if (certificate == nullptr || key == nullptr ||
      X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the CA's certificate and private key do not parse or do not fit each other");
  }
  return Make(wish, {certificate.get(), key.get()});
}

struct NameOf {
  std::string operator()(const CarIdentity& car) const { return car.ref.car.str(); }

  std::string operator()(const OperatorIdentity& staff) const { return staff.name; }

  std::string operator()(const BridgeIdentity& bridge) const { return bridge.name; }
};

bool IsAddress(const std::string& host) {
  return Address(a2i_IPADDRESS(host.c_str())) != nullptr;
}

// Letters, digits, '-' and '.': nothing that means something to OpenSSL's extension texts.
bool IsDnsName(const std::string& host) {
  return !host.empty() && host.size() <= kHostBytesMax && host.front() != '-' &&
         host.front() != '.' && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

}  // namespace

Issued MakeCa(const std::string& common_name, Timestamp now, int days) {
  return Make({common_name,
               now,
               days,
               {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                {NID_key_usage, "critical,keyCertSign,cRLSign"},
                {NID_subject_key_identifier, "hash"}}},
              {});
}

Result<Issued> IssueClient(const CertificateIdentity& identity, const Issued& ca, Timestamp now,
                           int days) {
  const std::string uri = ToUri(identity);
  LK_TRY(const CertificateIdentity read, ParseIdentityUri(uri));
  if (read != identity) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "identity has rights that no certificate can carry");
  }
  return MakeSigned({std::visit(NameOf{}, identity),
                     now,
                     days,
                     {{NID_basic_constraints, "critical,CA:FALSE"},
                      {NID_key_usage, "critical,digitalSignature"},
                      {NID_ext_key_usage, "clientAuth"},
                      {NID_subject_key_identifier, "hash"},
                      {NID_authority_key_identifier, "keyid:always"},
                      {NID_subject_alt_name, "URI:" + uri}}},
                    ca);
}

Result<Issued> IssueServer(const std::vector<std::string>& hosts, const Issued& ca, Timestamp now,
                           int days) {
  if (hosts.empty() || hosts.size() > kHostsMax) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "a server certificate names 1 to 32 hosts");
  }
  std::string names;
  for (const std::string& host : hosts) {
    const bool address = IsAddress(host);
    if (!address && !IsDnsName(host)) {
      return Fail(v1::REASON_BAD_CERTIFICATE,
                  "\"" + host + "\" is neither a DNS name nor an IP address");
    }
    names += (names.empty() ? "" : ",") + std::string(address ? "IP:" : "DNS:") + host;
  }
  return MakeSigned({hosts[0].substr(0, kCommonNameBytesMax),
                     now,
                     days,
                     {{NID_basic_constraints, "critical,CA:FALSE"},
                      {NID_key_usage, "critical,digitalSignature"},
                      {NID_ext_key_usage, "serverAuth"},
                      {NID_subject_key_identifier, "hash"},
                      {NID_authority_key_identifier, "keyid:always"},
                      {NID_subject_alt_name, names}}},
                    ca);
}

}  // namespace latchkey::tools
