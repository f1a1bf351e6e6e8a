// See ca_folder.h.
#include "bridge/ca_folder.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "proto/certificate.h"

namespace latchkey::bridge {

namespace fs = std::filesystem;

CaFolder::CaFolder(fs::path folder, LogSink log)
    : folder_(std::move(folder)), log_(std::move(log)) {}

Result<CaFolder::Marks> CaFolder::Look() const {
  Marks marks;
  std::error_code error;
  fs::directory_iterator at(folder_, error);
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    const fs::path& path = at->path();
    // {fleet}.crl.pem beside it is the list of revoked certificates: the broker's to read.
    if (path.extension() != ".pem" || path.stem().extension() == ".crl") {
      continue;
    }
    std::error_code gone;
    const Mark mark{fs::file_size(path, gone), fs::last_write_time(path, gone)};
    marks.emplace(path, gone ? Mark{} : mark);
  }
  if (error) {
    return Fail(v1::REASON_BAD_CERTIFICATE,
                "the folder " + folder_.string() + " cannot be read: " + error.message());
  }
  return marks;
}

Result<void> CaFolder::ReadFile(const fs::path& path, FleetCas& cas) {
  const auto fleet = FleetId::Parse(path.stem().string());
  std::ifstream file(path, std::ios::binary);
  const std::string pem{std::istreambuf_iterator<char>(file), {}};
  const Result<std::string> der = PemToDer(pem);
  if (!fleet || !der) {
    return Fail(v1::REASON_BAD_CERTIFICATE, path.string() +
                                                " is not a fleet's CA certificate as {fleet}.pem" +
                                                (der ? "" : ": " + der.error().text));
  }
  cas.insert_or_assign(*fleet, *der);
  return {};
}

Result<FleetCas> CaFolder::Read() {
  LK_TRY(Marks marks, Look());
  FleetCas cas;
  for (const auto& [path, mark] : marks) {
    LK_CHECK(ReadFile(path, cas));
  }
  marks_ = std::move(marks);
  cas_ = cas;
  return cas;
}

std::optional<FleetCas> CaFolder::Poll() {
  Result<Marks> marks = Look();
  if (!marks || *marks == marks_) {
    return std::nullopt;
  }
  FleetCas cas = cas_;
  for (const auto& [path, mark] : *marks) {
    const auto before = marks_.find(path);
    if (before != marks_.end() && before->second == mark) {
      continue;
    }
    const Result<void> read = ReadFile(path, cas);
    log_(read ? LogEvent{LogEvent::Level::kInfo, "fleet_ca_read", {{"file", path.string()}}}
              : LogEvent{
                    LogEvent::Level::kWarning, "fleet_ca_unusable", {{"why", read.error().text}}});
  }
  marks_ = std::move(*marks);
  if (cas == cas_) {
    return std::nullopt;
  }
  cas_ = cas;
  return cas;
}

}  // namespace latchkey::bridge
