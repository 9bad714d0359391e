--- What an operator may set, read once at start from `edge.env`; a wrong value stops `nginx -t` by name.
local cjson = require("cjson.safe")

local _M = { values = {} }

local function contents(path)
  local file, err = io.open(path, "r")
  if not file then
    return error("modoboa-edge: cannot read " .. tostring(err), 0)
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function integer(rule, value)
  local number = value:match("^%d+$") and tonumber(value)
  if not number or number < rule.least or number > rule.most then
    local range = rule.least .. " and " .. rule.most .. " " .. rule.unit
    return nil, "must be a whole number between " .. range
  end
  return number
end

local function choice(rule, value)
  for _, word in ipairs(rule.choices) do
    if word == value then
      return value
    end
  end
  return nil, "must be one of " .. table.concat(rule.choices, ", ")
end

local function switch(_, value)
  if value ~= "on" and value ~= "off" then
    return nil, "must be on or off"
  end
  return value
end

local function word(_, value)
  if not value:find("^[%w][%w._-]*$") or #value > 64 then
    return nil, "must be one word of letters, digits, . _ - (at most 64)"
  end
  return value
end

local function redis(_, value)
  if value == "" then
    return value
  end
  local target, err = require("edge.redis_url").parse(value)
  return target and value, err
end

local function workers(rule, value)
  return value == "auto" and value or integer(rule, value)
end

local KINDS = {
  integer = integer,
  choice = choice,
  switch = switch,
  word = word,
  redis = redis,
  workers = workers,
}

--- The value as the rule's kind has it; stops with the setting's name and what it must be.
local function checked(rule, value)
  local check = KINDS[rule.kind]
  if not check then
    return value
  end
  local result, err = check(rule, value)
  if result == nil or result == false then
    error("modoboa-edge: " .. rule.name .. " " .. tostring(err) .. " (edge.env)", 0)
  end
  return result
end

--- Read `<prefix>/edge.env` by the rules of `<prefix>/settings.json`; names without a line keep their default.
function _M.load(prefix)
  local given = {}
  for line in contents(prefix .. "/edge.env"):gmatch("[^\n]+") do
    local name, value = line:match("^([A-Z_]+)=(.*)$")
    if name then
      given[name] = value
    end
  end
  for _, rule in ipairs(cjson.decode(contents(prefix .. "/settings.json")).settings) do
    local value = given[rule.name]
    _M.values[rule.name] = checked(rule, (value and value ~= "") and value or rule.default)
  end
  return _M.values
end

return _M
