-- Forget one tombstone, if it still is the one of that revision.
-- KEYS  1 hosts  2 host  3 floor      ARGV  1 hostname  2 revision
local score = redis.call("ZSCORE", KEYS[1], ARGV[1])
if not score or tonumber(score) ~= tonumber(ARGV[2]) then
  return 0
end
if redis.call("HGET", KEYS[2], "state") ~= "deleted" then
  return 0
end
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[2])
if (tonumber(redis.call("GET", KEYS[3]) or "0") or 0) < tonumber(ARGV[2]) then
  redis.call("SET", KEYS[3], ARGV[2])
end
return 1
