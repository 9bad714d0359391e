-- One publish: checks epoch, generation and lease, takes the next revision, writes everything of one host.
-- KEYS  1 epoch  2 rev  3 hosts  4 expiry  5 channel  6 host  7 cert  8.. challenges to set, then to forget
-- ARGV  1 epoch  2 at_least  3 hostname  4 generation  5 change  6 force  7 host fields (JSON, flat)
--       8 certificate fields (JSON, flat, [] for none)  9 not_after  10 challenge seconds
--       11 key authorizations (JSON), one for each challenge to set
local epoch = redis.call("GET", KEYS[1])
if epoch ~= ARGV[1] then
  return { "epoch", epoch or "none" }
end
if ARGV[6] ~= "1" then
  local stored = redis.call("HMGET", KEYS[6], "generation", "change")
  if stored[1] and tonumber(stored[1]) > tonumber(ARGV[4]) then
    return { "generation", stored[1] }
  end
  if stored[2] and tonumber(stored[2]) > tonumber(ARGV[5]) then
    return { "lease", stored[2] }
  end
end

local last = (redis.call("GET", KEYS[2]) or ""):match("^%d+$") or "0"
local rev = math.max(tonumber(last), tonumber(ARGV[2])) + 1
local text = string.format("%d", rev)
redis.call("SET", KEYS[2], text)

redis.call("DEL", KEYS[6], KEYS[7])
redis.call("HSET", KEYS[6], "rev", text, unpack(cjson.decode(ARGV[7])))
local certificate = cjson.decode(ARGV[8])
if #certificate > 0 then
  redis.call("HSET", KEYS[7], "rev", text, unpack(certificate))
  redis.call("ZADD", KEYS[4], ARGV[9], ARGV[3])
else
  redis.call("ZREM", KEYS[4], ARGV[3])
end

local answers = cjson.decode(ARGV[11])
for number, answer in ipairs(answers) do
  redis.call("SET", KEYS[7 + number], answer, "EX", ARGV[10])
end
for number = 8 + #answers, #KEYS do
  redis.call("DEL", KEYS[number])
end

redis.call("ZADD", KEYS[3], text, ARGV[3])
redis.call("PUBLISH", KEYS[5], text)
return { "ok", text }
