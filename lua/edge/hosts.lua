--- hostname → entry: the index of all hosts in shared memory, and what this worker has made of each.
local lrucache = require("resty.lrucache")

local connection = require("edge.connection")
local index = require("edge.index")
local normalise = require("edge.hostname").normalise
local progress = require("edge.progress")

local now = ngx.now
local word_of = index.get

local _M = {}

local cache
local seen = setmetatable({}, { __mode = "v" }) -- those of the cache that requests asked for, without its bookkeeping
local NAMES = { A = "active", P = "pending", D = "disabled", X = "deleted" }

--- `capacity` entries are kept per worker.
function _M.setup(capacity)
  cache = assert(lrucache.new(capacity))
end

--- An entry for one word of the index; what the older entry had parsed is kept for comparison.
local function remember(name, word, older)
  local letter, rev, generation = word:match("^(%u)(%d+)|(%d+)$")
  local entry = {
    name = name,
    word = word,
    active = letter == "A",
    rev = tonumber(rev),
    id = connection.id(name),
    session_context = ngx.sha1_bin(name .. "|" .. generation),
    last_pair = older and (older.pair or older.last_pair),
    last_record = older and (older.record or older.last_record),
  }
  cache:set(name, entry)
  return entry
end

--- The entry of a canonical name, or nil when the index does not have it.
local function find_canonical(name)
  local word = word_of(name)
  if not word then
    return nil
  end
  local entry = cache:get(name)
  if entry and entry.word == word then
    return entry
  end
  return remember(name, word, entry)
end

--- The entry for a name as a client sent it; nil when unknown, then also its canonical spelling or false.
function _M.find(name)
  local entry = find_canonical(name)
  if entry then
    return entry
  end
  local canonical = normalise(name)
  if canonical and canonical ~= name then
    return find_canonical(canonical), canonical
  end
  return nil, canonical
end

--- The same for a request, whose Host nginx has in lower case and without port and final dot: nothing but the canonical
--- name is found. Who was found in this very millisecond is not looked up again.
function _M.find_now(name)
  local entry = seen[name]
  if entry and entry.found_at == now() then
    return entry
  end
  entry = find_canonical(name)
  if entry then
    entry.found_at = now()
    seen[name] = entry
  end
  return entry
end

--- `active`, `pending`, `disabled` or `deleted`, and the generation.
function _M.describe(entry)
  local letter, generation = entry.word:match("^(%u)%d+|(%d+)$")
  return NAMES[letter], tonumber(generation)
end

--- Whether the whole index has been read since there is this memory for it.
function _M.complete()
  return progress.get("complete") == true
end

--- Put a host into the index that the syncer has not reached yet (only while the index is incomplete).
function _M.add(name, word)
  index.add(name, word)
  return find_canonical(name)
end

--- The index word of a hostname, or nil.
function _M.word(name)
  return word_of(name)
end

return _M
