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
using Integer = std::unique_ptr<ASN1_INTEGER, Free<ASN1_INTEGER_free>>;
using Time = std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>>;
using Crl = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
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

// What was written into a memory BIO.
std::string Drain(BIO* bio) {
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio, &text);
  LK_ASSERT(length > 0);
  return std::string(text, static_cast<size_t>(length));
}

std::string WritePem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  LK_ASSERT(bio != nullptr && PEM_write_bio_X509(bio.get(), certificate) == 1);
  return Drain(bio.get());
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

// A certificate for `key`, PEM. Without a private half the key cannot be self-signed.
std::string Make(const Wish& wish, EVP_PKEY* key, Issuer issuer) {
  const X509Pointer certificate(X509_new());
  LK_ASSERT(key != nullptr && certificate != nullptr);
  if (issuer.certificate == nullptr) {
    issuer = {certificate.get(), key};
  }
  LK_ASSERT(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  SetSerial(certificate.get());
  SetTimes(certificate.get(), wish.now, wish.days);
  SetCommonName(certificate.get(), wish.common_name);
  LK_ASSERT(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.certificate)) ==
            1);
  LK_ASSERT(X509_set_pubkey(certificate.get(), key) == 1);
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer.certificate, certificate.get(), nullptr, nullptr, 0);
  for (const auto& [nid, text] : wish.extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, text.c_str()));
    LK_ASSERT(extension != nullptr);
    LK_ASSERT(X509_add_ext(certificate.get(), extension.get(), -1) == 1);
  }
  LK_ASSERT(X509_sign(certificate.get(), issuer.key, EVP_sha256()) > 0);
  return WritePem(certificate.get());
}

}  // namespace

struct Signer::Impl {
  X509Pointer certificate;
  KeyPointer key;
};

Result<Signer> Signer::Read(const Issued& ca) {
  auto impl =
      std::make_shared<Impl>(ReadCertificate(ca.certificate_pem), ReadKey(ca.private_key_pem));
  if (impl->certificate == nullptr || impl->key == nullptr ||
      X509_check_private_key(impl->certificate.get(), impl->key.get()) != 1) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the CA's certificate and private key do not parse or do not fit each other");
  }
  return Signer(std::move(impl));
}

namespace {

Issuer IssuerOf(const Signer& signer) {
  return {signer.impl().certificate.get(), signer.impl().key.get()};
}

Result<Issued> MakeSigned(const Wish& wish, const Issued& ca) {
  LK_TRY(const Signer signer, Signer::Read(ca));
  const std::string key_pem = PrivateKey::Generate().ToPem();
  const KeyPointer key = ReadKey(key_pem);
  return Issued{Make(wish, key.get(), IssuerOf(signer)), key_pem};
}

struct NameOf {
  std::string operator()(const CarIdentity& car) const { return car.ref.car.str(); }

  std::string operator()(const OperatorIdentity& staff) const { return staff.name; }

  std::string operator()(const BridgeIdentity& bridge) const { return bridge.name; }

  std::string operator()(const RegistrarIdentity& registrar) const {
    return registrar.fleet.str() + " registrar";
  }

  std::string operator()(const AdministratorIdentity& administrator) const {
    return administrator.name;
  }

  std::string operator()(const PeerIdentity& peer) const { return peer.name; }
};

Result<Wish> ClientWish(const CertificateIdentity& identity, Timestamp now, int days) {
  const std::string uri = ToUri(identity);
  LK_TRY(const CertificateIdentity read, ParseIdentityUri(uri));
  if (read != identity) {
    return Fail(v1::REASON_BAD_CERTIFICATE, "identity has rights that no certificate can carry");
  }
  return Wish{std::visit(NameOf{}, identity),
              now,
              days,
              {{NID_basic_constraints, "critical,CA:FALSE"},
               {NID_key_usage, "critical,digitalSignature"},
               {NID_ext_key_usage, "clientAuth"},
               {NID_subject_key_identifier, "hash"},
               {NID_authority_key_identifier, "keyid:always"},
               {NID_subject_alt_name, "URI:" + uri}}};
}

void AddRevoked(X509_CRL* crl, const Revoked& revoked) {
  const Number number(BN_bin2bn(reinterpret_cast<const unsigned char*>(revoked.serial.data()),
                                static_cast<int>(revoked.serial.size()), nullptr));
  const Integer serial(number == nullptr ? nullptr : BN_to_ASN1_INTEGER(number.get(), nullptr));
  const Time at(ASN1_TIME_set(nullptr, revoked.at.ms / 1000));
  X509_REVOKED* entry = X509_REVOKED_new();  // the list's, once added
  LK_ASSERT(entry != nullptr && X509_REVOKED_set_serialNumber(entry, serial.get()) == 1 &&
            X509_REVOKED_set_revocationDate(entry, at.get()) == 1 &&
            X509_CRL_add0_revoked(crl, entry) == 1);
}

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
  const std::string key_pem = PrivateKey::Generate().ToPem();
  const KeyPointer key = ReadKey(key_pem);
  return {Make({common_name,
                now,
                days,
                {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                 {NID_key_usage, "critical,keyCertSign,cRLSign"},
                 {NID_subject_key_identifier, "hash"}}},
               key.get(), {}),
          key_pem};
}

Result<Issued> IssueClient(const CertificateIdentity& identity, const Issued& ca, Timestamp now,
                           int days) {
  LK_TRY(const Wish wish, ClientWish(identity, now, days));
  return MakeSigned(wish, ca);
}

Result<std::string> CertifyClient(const CertificateIdentity& identity, const PublicKey& key,
                                  const Signer& ca, const Validity& validity) {
  LK_TRY(const Wish wish, ClientWish(identity, validity.now, validity.days));
  const std::string der = key.ToDer();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const KeyPointer public_key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  return Make(wish, public_key.get(), IssuerOf(ca));
}

Result<std::string> CertifyClient(const CertificateIdentity& identity, const PublicKey& key,
                                  const Issued& ca, const Validity& validity) {
  LK_TRY(const Signer signer, Signer::Read(ca));
  return CertifyClient(identity, key, signer, validity);
}

Result<std::string> MakeCrl(const Issued& ca, const std::vector<Revoked>& revoked, uint64_t number,
                            const Validity& validity) {
  LK_TRY(const Signer read, Signer::Read(ca));
  const Signer::Impl& signer = read.impl();
  const Crl crl(X509_CRL_new());
  LK_ASSERT(crl != nullptr && X509_CRL_set_version(crl.get(), X509_CRL_VERSION_2) == 1);
  LK_ASSERT(X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(signer.certificate.get())) ==
            1);
  const int64_t now_s = validity.now.ms / 1000;
  const Time this_update(ASN1_TIME_set(nullptr, now_s));
  const Time next_update(ASN1_TIME_set(nullptr, now_s + validity.days * kDaySeconds));
  LK_ASSERT(X509_CRL_set1_lastUpdate(crl.get(), this_update.get()) == 1 &&
            X509_CRL_set1_nextUpdate(crl.get(), next_update.get()) == 1);
  for (const Revoked& each : revoked) {
    AddRevoked(crl.get(), each);
  }
  const Integer crl_number(ASN1_INTEGER_new());
  LK_ASSERT(crl_number != nullptr && ASN1_INTEGER_set_uint64(crl_number.get(), number) == 1 &&
            X509_CRL_add1_ext_i2d(crl.get(), NID_crl_number, crl_number.get(), 0, 0) == 1);
  X509V3_CTX context{};
  X509V3_set_ctx(&context, signer.certificate.get(), nullptr, nullptr, crl.get(), 0);
  const Extension issuer(
      X509V3_EXT_conf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always"));
  LK_ASSERT(issuer != nullptr && X509_CRL_add_ext(crl.get(), issuer.get(), -1) == 1);
  LK_ASSERT(X509_CRL_sort(crl.get()) == 1 &&
            X509_CRL_sign(crl.get(), signer.key.get(), EVP_sha256()) > 0);
  const Bio bio(BIO_new(BIO_s_mem()));
  LK_ASSERT(bio != nullptr && PEM_write_bio_X509_CRL(bio.get(), crl.get()) == 1);
  return Drain(bio.get());
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
