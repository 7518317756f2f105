// SPDX-License-Identifier: Apache-2.0
#include "tf/saved_position.h"

#include <cstdint>

#include "core/base/error.h"
#include "core/format/record_format.h"
#include "tensorflow/core/platform/tstring.h"

namespace pipemode {
namespace {

namespace data = tensorflow::data;
using tensorflow::tstring;

constexpr int64_t kVersion = 3;
// More than can have been read: at a hundred million a second, for a month.
constexpr int64_t kMaxCount = int64_t{1} << 48;
constexpr char kVersionKey[] = "version";
constexpr char kChannelKey[] = "channel";
constexpr char kFormatKey[] = "record_format";
constexpr char kAttributesKey[] = "attributes";
constexpr char kEpochsKey[] = "epochs";
constexpr char kRecordsKey[] = "records";
constexpr char kRecordsBeforeKey[] = "records_before";
constexpr char kEndedKey[] = "ended";
// Of a dataset that reads files only.
constexpr char kFileKey[] = "file";
constexpr char kFileNameKey[] = "file_name";
constexpr char kFileSizeKey[] = "file_size";
constexpr char kFileRecordsKey[] = "file_records";

absl::Status Refuse(const std::string& what) {
  return absl::InvalidArgumentError("cannot go on where the checkpoint was: " + what);
}

absl::Status CheckCount(const char* key, int64_t count, int64_t unit) {
  if (count >= 0 && count <= kMaxCount && count % unit == 0) return absl::OkStatus();
  return Refuse("its position is not valid (" + std::string(key) + ": " + std::to_string(count) +
                "); is the file damaged?");
}

absl::Status CheckSame(const char* what, const std::string& saved, const std::string& here) {
  if (saved == here) return absl::OkStatus();
  return Refuse("it holds the position in a dataset with " + std::string(what) + " '" +
                Excerpt(saved) + "', and this one has '" + here +
                "'; restore it into a dataset like the one saved");
}

// The last part of a path: the folder may be another one by now.
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Reads which file of `list` the position is in. One that was saved in Pipe mode tells none.
absl::Status ReadFile(const FileList& list, const std::string& prefix,
                      data::IteratorStateReader* reader, SequencePosition* position) {
  position->file = SequencePosition::kNoFile;
  int64_t file = 0;
  if (!reader->ReadScalar(prefix, kFileKey, &file).ok()) return absl::OkStatus();
  int64_t records = 0;
  int64_t size = 0;
  tstring name;
  if (!reader->ReadScalar(prefix, kFileNameKey, &name).ok() ||
      !reader->ReadScalar(prefix, kFileSizeKey, &size).ok() ||
      !reader->ReadScalar(prefix, kFileRecordsKey, &records).ok()) {
    return Refuse("of its position in a file a part is missing; is the file damaged?");
  }
  if (file < 0 || records < 0 || static_cast<uint64_t>(records) > position->records) {
    return Refuse("its position in a file is not valid; is the file damaged?");
  }
  const auto number = static_cast<uint64_t>(file);
  if (number < list.files.size() && number % list.stride != list.first) {
    return Refuse("it was in file number " + std::to_string(file) +
                  ", which belongs to another shard of files");
  }
  if (number >= list.files.size() || NameOf(list.files[number].path) != std::string(name) ||
      list.files[number].size != static_cast<uint64_t>(size)) {
    return Refuse("it was in '" + Excerpt(name) + "' of " + std::to_string(size) +
                  " bytes, file number " + std::to_string(file) + ", and here " +
                  (number >= list.files.size()
                       ? "are " + std::to_string(list.files.size()) + " files"
                       : "that is '" + Excerpt(NameOf(list.files[number].path)) + "' of " +
                             std::to_string(list.files[number].size) + " bytes") +
                  "; have files been added, removed or changed?");
  }
  position->file = number;
  position->file_records = static_cast<uint64_t>(records);
  return absl::OkStatus();
}

}  // namespace

absl::Status WritePosition(const SavedPosition& saved, const ChannelOptions& channel,
                           const std::string& prefix, data::IteratorStateWriter* writer) {
  absl::Status status;
  const auto write = [&](const char* key, const auto& value) {
    if (status.ok()) status = writer->WriteScalar(prefix, key, value);
  };
  write(kVersionKey, kVersion);
  write(kChannelKey, tstring(channel.channel));
  write(kFormatKey, tstring(FormatName(channel.stream.format)));
  write(kAttributesKey, static_cast<int64_t>(channel.stream.attributes.size()));
  write(kEpochsKey, static_cast<int64_t>(saved.position.epochs));
  write(kRecordsKey, static_cast<int64_t>(saved.position.records));
  write(kRecordsBeforeKey, static_cast<int64_t>(saved.position.records_before));
  write(kEndedKey, int64_t{saved.ended ? 1 : 0});
  if (channel.files == nullptr || saved.position.records == 0) return status;
  // One that was saved in Pipe mode, and restored here, tells none until a record is read.
  if (saved.position.file == SequencePosition::kNoFile) return status;
  const FileList::File& file = channel.files->files[saved.position.file];
  write(kFileKey, static_cast<int64_t>(saved.position.file));
  write(kFileNameKey, tstring(NameOf(file.path)));
  write(kFileSizeKey, static_cast<int64_t>(file.size));
  write(kFileRecordsKey, static_cast<int64_t>(saved.position.file_records));
  return status;
}

absl::Status ReadPosition(const ChannelOptions& channel, const std::string& prefix,
                          data::IteratorStateReader* reader, SavedPosition* saved) {
  int64_t version = 0;
  if (!reader->ReadScalar(prefix, kVersionKey, &version).ok()) {
    return Refuse(
        "it holds no position in a PipeModeDataset here; is it that of another pipeline?");
  }
  if (version != kVersion) {
    return Refuse("its format is of version " + std::to_string(version) +
                  ", this release reads version " + std::to_string(kVersion));
  }
  absl::Status status;
  const auto read = [&](const char* key, auto* value) {
    if (status.ok() && !reader->ReadScalar(prefix, key, value).ok()) {
      status = Refuse("of its position a part is missing (" + std::string(key) +
                      "); is the file damaged?");
    }
  };
  tstring name;
  tstring format;
  int64_t attributes = 0;
  int64_t epochs = 0;
  int64_t records = 0;
  int64_t records_before = 0;
  int64_t ended = 0;
  read(kChannelKey, &name);
  read(kFormatKey, &format);
  read(kAttributesKey, &attributes);
  read(kEpochsKey, &epochs);
  read(kRecordsKey, &records);
  read(kRecordsBeforeKey, &records_before);
  read(kEndedKey, &ended);
  if (status.ok()) status = CheckSame("channel", name, channel.channel);
  if (status.ok()) status = CheckSame("record_format", format, FormatName(channel.stream.format));
  if (status.ok()) {
    status = CheckSame("the number of attributes", std::to_string(attributes),
                       std::to_string(channel.stream.attributes.size()));
  }
  const auto in_line = static_cast<int64_t>(RecordsInLine(channel.stream));
  if (status.ok()) status = CheckCount(kEpochsKey, epochs, 1);
  if (status.ok()) status = CheckCount(kRecordsKey, records, in_line);
  if (status.ok()) status = CheckCount(kRecordsBeforeKey, records_before, in_line);
  if (!status.ok()) return status;
  saved->position.epochs = static_cast<uint64_t>(epochs);
  saved->position.records = static_cast<uint64_t>(records);
  saved->position.records_before = static_cast<uint64_t>(records_before);
  saved->ended = ended != 0;
  if (channel.files == nullptr) return status;
  return ReadFile(*channel.files, prefix, reader, &saved->position);
}

}  // namespace pipemode
