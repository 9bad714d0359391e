--- Apply hosts that the feed names: read them, judge them, put them first where handshakes look for certificates, then
--- into the index, so that nobody sees a new revision before its certificate.
local feed = require("edge.feed")
local held = require("edge.held")
local index = require("edge.index")
local journal = require("edge.journal")
local published = require("edge.published")
local redis = require("edge.redis")
local refusals = require("edge.refusals")

local _M = {}

local NO_ROOM = "there is no room for it in shared memory"
local UNREADABLE = "its record cannot be read"
local ABOVE = "its revision is above vh:rev"

local function revision(word)
  return tonumber(word:match("%d+"))
end

--- Whether a word is news; while following, a host's revision never goes back.
local function is_news(before, word, adopting)
  if not before or adopting then
    return before ~= word
  end
  return revision(word) > revision(before)
end

--- Hold what was read of a host, or forget it.
local function keep(name, host, word)
  if word:sub(1, 1) == "X" then
    held.drop(name)
  elseif host.leaf or word:sub(1, 1) ~= "A" then
    if not held.put(name, host) then
      held.drop(name) -- (1) what was there is of an older revision
    end
  end
end

--- Put a word that is news into the index; false when there is no room for it.
local function list(name, before, word, adopting)
  if not is_news(before, word, adopting) then
    return true
  end
  journal.about(name, "revision ", revision(word), " applied")
  return index.set(name, word)
end

local function apply_full(name, answers_host, answers_certificate, adopting, most)
  local good = held.get(name)
  local host, word, why = published.judge(name, answers_host, answers_certificate, good)
  local before = index.get(name) -- (1) who hangs over the keyring may be followed by another worker meanwhile
  if not host or host.asof > most then
    published.release(host)
    return refusals.note(name, host and ABOVE or word)
  end
  local is_settled = not adopting and good and good.word == word and good.sha256 == host.sha256
  local is_older = not adopting and before and revision(word) < revision(before)
  if not is_older and (why or not is_settled) then
    keep(name, host, word)
  end
  local fits = list(name, before, word, adopting)
  published.release(host)
  refusals.note(name, why or (not fits and NO_ROOM) or nil)
end

--- Read and apply hosts in full; true, or nil and the error of Redis. `along` is what the feed's look brought of one
--- host: when no other has changed, nothing is left to be read.
function _M.full(red, changes, adopting, along)
  if along and #changes == 1 and changes[1].name == along.name then
    apply_full(along.name, along.host, along.certificate, adopting, along.most)
    return true
  end
  local commands = {}
  for position, change in ipairs(changes) do
    commands[2 * position - 1], commands[2 * position] = published.commands(change.name)
  end
  commands[#commands + 1] = feed.REVISION -- (1) read last: no record that was read before is above it
  local answers, err = redis.pipeline(red, commands)
  if not answers then
    return nil, err
  end
  local most = feed.most(answers[#answers])
  for position, change in ipairs(changes) do
    apply_full(change.name, answers[2 * position - 1], answers[2 * position], adopting, most)
  end
  return true
end

--- Whether state, revision and certificate are those of what is held and listed: then there is nothing to be done.
local function is_held(good, before, word, cert)
  return good.word == word and before == word and good.sha256 == (cert or "")
end

--- Apply state and generation alone; true when the host is to be read in full later.
local function apply_thin(change, answer, adopting)
  local fields = type(answer) == "table" and answer or {}
  local letter, generation = redis.text(fields[1]), redis.text(fields[2]) or "0"
  if not change.rev then
    return true -- (1) its own record may say better
  end
  local word = published.word(change.rev, letter, generation)
  if not word then
    refusals.note(change.name, UNREADABLE)
    return false
  end
  local name, before, good = change.name, index.get(change.name), held.summary(change.name)
  local is_active, is_deleted = word:sub(1, 1) == "A", word:sub(1, 1) == "X"
  if good and is_deleted then
    held.drop(name)
  elseif good and not is_held(good, before, word, redis.text(fields[3])) then
    if not is_active then
      list(name, before, word, adopting)
    end
    return true
  end
  refusals.note(name, not list(name, before, word, adopting) and NO_ROOM or nil)
  return false
end

--- Read and apply state and generation of hosts, which is cheap; those of whom more is held are added to `later`.
function _M.thin(red, changes, adopting, later)
  local commands = {}
  for position, change in ipairs(changes) do
    commands[position] = { "hmget", "vh:host:" .. change.name, "state", "generation", "cert" }
  end
  local answers, err = redis.pipeline(red, commands)
  if not answers then
    return nil, err
  end
  for position, change in ipairs(changes) do
    if apply_thin(change, answers[position], adopting) then
      later[#later + 1] = change
    end
  end
  return true
end

return _M
