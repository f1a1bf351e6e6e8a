// The rows of a MySQL dump as mysqldump prints it: extended INSERTs with or without column names,
// CREATE TABLE for the order of columns, escapes, NULL, hexadecimal and _binary strings, comments,
// SET NAMES in between. Statements of another kind are passed over. Pure.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latchkey::legacy {

inline constexpr size_t kSqlValueBytesMax = size_t{1} << 20;
inline constexpr size_t kSqlColumnsMax = 200;

// One row. Text is UTF-8 when the dump says its character set (utf8, utf8mb4, latin1, ascii), else
// as it stands there.
struct SqlRow {
  std::string table;
  size_t number = 0;                                         // of the table's rows, from 1
  std::map<std::string, std::optional<std::string>> values;  // by column; nullopt: NULL
};

struct SqlFault {
  size_t at = 0;  // byte of the dump
  std::string why;
};

// Calls `row` for each row in order and `fault` for each INSERT that cannot be read on (the rest of
// that statement is left out) and for each row whose columns are not known.
void ReadSqlDump(std::string_view dump, const std::function<void(const SqlRow&)>& row,
                 const std::function<void(const SqlFault&)>& fault);

}  // namespace latchkey::legacy
