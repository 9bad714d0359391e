--- What the revision feed says now, and which of it is to be believed (docs/decisions.md, 4).
local redis = require("edge.redis")

local _M = {}

_M.BATCH = 100 -- (1) half a millisecond of work: handshakes of this worker wait for one batch at most

--- One look: epoch, completeness, revision, floor, the hosts changed after `applied`, who expires first.
function _M.look(red, applied)
  local answers, err = redis.pipeline(red, {
    { "get", "vh:epoch" },
    { "hmget", "vh:complete", "epoch", "hosts" },
    { "get", "vh:rev" },
    { "get", "vh:floor" },
    _M.changes_after(applied),
    { "zrange", "vh:expiry", 0, 0, "withscores" },
  })
  if not answers then
    return nil, err
  end
  local complete = type(answers[2]) == "table" and answers[2] or {}
  return {
    epoch = redis.text(answers[1]),
    complete_epoch = redis.text(complete[1]),
    complete_hosts = tonumber(redis.text(complete[2])),
    rev = tonumber(redis.text(answers[3])) or 0,
    floor = tonumber(redis.text(answers[4])) or 0,
    changes = _M.changes(answers[5]),
    first_expiry = (_M.changes(answers[6]) or {})[1],
  }
end

--- The command for the next batch of hosts above a revision.
function _M.changes_after(rev)
  local above = string.format("(%d", rev)
  return { "zrangebyscore", "vh:hosts", above, "+inf", "withscores", "limit", 0, _M.BATCH }
end

--- {name, rev} pairs of such an answer; nil when Redis answered with an error.
function _M.changes(answer)
  if type(answer) ~= "table" or answer[1] == false then
    return nil
  end
  local list = {}
  for position = 1, #answer, 2 do
    list[#list + 1] = { name = answer[position], rev = tonumber(answer[position + 1]) }
  end
  return list
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
