--- What the revision feed says now, and which of it is to be believed (docs/decisions.md, 4).
local redis = require("edge.redis")

local _M = {}

_M.BATCH = 100 -- (1) half a millisecond of work: handshakes of this worker wait for one batch at most

_M.REVISION = { "get", "vh:rev" }

--- The command for the next batch of hosts above a revision or score.
local function changes_after(rev)
  local above = type(rev) == "number" and string.format("(%d", rev) or "(" .. rev
  return { "zrangebyscore", "vh:hosts", above, "+inf", "withscores", "limit", 0, _M.BATCH }
end

--- The highest revision that can be, from what vh:rev said: whatever, when it cannot be read.
function _M.most(answer)
  return tonumber(redis.text(answer)) or math.huge
end

--- {name, rev} pairs of such an answer, and `last`, its last score; nil when Redis answered with an error. Without a
--- `rev` where the score can be none: not a whole number, or above `most`.
local function changes_of(answer, most)
  if type(answer) ~= "table" or answer[1] == false then
    return nil
  end
  local list = { last = answer[#answer] }
  for position = 1, #answer, 2 do
    local rev = tonumber(answer[position + 1])
    local is_sound = rev and rev <= most and rev >= 0 and rev % 1 == 0
    list[#list + 1] = { name = answer[position], rev = is_sound and rev or nil }
  end
  return list
end

--- One look: epoch, completeness, revision, floor, hosts changed after `applied`, who expires first. Of one host
--- that is read `along` ({name, its two commands}) the answers, too: read behind the changes, before revision `most`.
function _M.look(red, applied, along)
  local commands = {
    { "get", "vh:epoch" },
    { "hmget", "vh:complete", "epoch", "hosts" },
    { "get", "vh:floor" },
    changes_after(applied),
    { "zrange", "vh:expiry", 0, 0, "withscores" },
  }
  if along then
    commands[6], commands[7] = along[2], along[3]
  end
  commands[#commands + 1] = _M.REVISION -- (1) read last: no sound score that was read before is above it
  local answers, err = redis.pipeline(red, commands)
  if not answers then
    return nil, err
  end
  local complete = type(answers[2]) == "table" and answers[2] or {}
  local rev = answers[#commands]
  local most = _M.most(rev)
  local floor = tonumber(redis.text(answers[3])) or 0
  return {
    epoch = redis.text(answers[1]),
    complete_epoch = redis.text(complete[1]),
    complete_hosts = tonumber(redis.text(complete[2])),
    rev = tonumber(redis.text(rev)) or 0,
    floor = floor <= most and floor or 0,
    changes = changes_of(answers[4], most),
    first_expiry = (changes_of(answers[5], math.huge) or {})[1],
    along = along and { name = along[1], host = answers[6], certificate = answers[7], most = most },
  }
end

--- The next batch of hosts above a revision or score; nil and why.
function _M.more(red, above)
  local answers, err = redis.pipeline(red, { changes_after(above), _M.REVISION })
  if not answers then
    return nil, err
  end
  local changes = changes_of(answers[1], _M.most(answers[2]))
  return changes, not changes and "the feed cannot be read" or nil
end

--- What to do about a look, given what we have (`mine`: epoch, applied, hosts):
---   1. no epoch: an empty Redis, or the wrong one      → wait, alarm
---   2. feed unreadable                                 → wait, alarm
---   3. nothing of ours yet                             → follow from the start, or compare with a whole one
---   4. our epoch, revision below ours: an old dump      → wait, alarm
---   5. our epoch, purged beyond what we know            → compare the whole index
---   6. our epoch                                       → follow
---   7. another epoch, not complete: being rebuilt        → follow what is newer, alarm
---   8. another epoch, complete but empty, we are not     → wait, alarm
---   9. another epoch, complete                         → compare the whole index
function _M.judge(look, mine)
  if not look.epoch then
    return "wait", "empty"
  end
  if not look.changes then
    return "wait", "unreadable"
  end
  local complete = look.complete_epoch == look.epoch
  if not mine.epoch then
    return (complete and mine.hosts > 0 and #look.changes > 0) and "compare" or "follow"
  end
  if look.epoch == mine.epoch then
    if look.rev < mine.applied then
      return "wait", "rewound"
    end
    return (complete and mine.applied > 0 and look.floor > mine.applied) and "compare" or "follow"
  end
  if not complete then
    return "follow", "rebuilding"
  end
  if (look.complete_hosts or 0) == 0 and mine.hosts > 0 then
    return "wait", "emptied"
  end
  return "compare"
end

return _M
