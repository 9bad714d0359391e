--- normalise(name): what SNI and Host are turned into before anything is looked up.
local byte, find, lower, sub = string.byte, string.find, string.lower, string.sub

local LONGEST = 253
local DOT = 46

local _M = {}

--- Whether one label is allowed (RFC 1123 §2.1, RFC 5891 §4.2.3.1). Whether an `xn--` label is a valid
--- A-label needs tables that only the control plane has; a name with a bad one is never in the index.
local function is_label(label)
  if #label > 63 or not find(label, "^[a-z0-9-]+$") then
    return false
  end
  if byte(label) == 45 or byte(label, -1) == 45 then
    return false
  end
  return sub(label, 3, 4) ~= "--" or sub(label, 1, 4) == "xn--"
end

--- Whether `name` is a canonical hostname: lower case, two labels or more, the last not all digits.
function _M.is_canonical(name)
  if #name > LONGEST or byte(name, -1) == DOT or find(name, "[^a-z0-9.-]") then
    return false
  end
  local count, last = 0, ""
  for label in (name .. "."):gmatch("([^.]*)%.") do
    if not is_label(label) then
      return false
    end
    count, last = count + 1, label
  end
  return count > 1 and not find(last, "^%d+$")
end

--- The canonical spelling of an SNI, or false when it cannot mean a host of ours.
function _M.normalise(name)
  if #name > LONGEST + 1 then
    return false
  end
  name = lower(name)
  if byte(name, -1) == DOT then
    name = sub(name, 1, -2)
  end
  return _M.is_canonical(name) and name
end

--- The same for a Host header: its port (RFC 3986 §3.2.3, 1–5 digits) comes off first.
function _M.normalise_host(host)
  return _M.normalise((host:gsub(":%d%d?%d?%d?%d?$", "")))
end

return _M
