--- The theme as it is passed on: only Modoboa's own fields, only plain colours and our own logo paths.
local cjson = require("cjson.safe")

local _M = {}

local COLOURS = {
  "theme_primary_color",
  "theme_primary_color_light",
  "theme_primary_color_dark",
  "theme_secondary_color",
  "theme_label_color",
}
local LOGOS = { "theme_login_logo_url", "theme_menu_logo_url", "theme_creation_form_logo_url" }
local LOGO = "^/_edge/logos/(%x+)%.(%l+)$"
local EXTENSIONS = { png = true, jpg = true, jpeg = true, webp = true, gif = true }

local function is_colour(value)
  return type(value) == "string" and #value == 7 and value:find("^#%x+$") ~= nil
end

local function is_logo(value)
  local hash, extension = tostring(value):match(LOGO)
  return hash ~= nil and #hash == 64 and EXTENSIONS[extension] == true
end

--- The fields of a published theme that can be believed; broken JSON or values are left out, and counted.
function _M.clean(text)
  local given = text ~= "" and cjson.decode(text) or {}
  local kept, dropped = {}, 0
  if type(given) ~= "table" then
    return {}, 1
  end
  for _, name in ipairs(COLOURS) do
    kept[name] = is_colour(given[name]) and given[name] or nil
  end
  for _, name in ipairs(LOGOS) do
    kept[name] = is_logo(given[name]) and given[name] or nil
  end
  for name in pairs(given) do
    dropped = dropped + (kept[name] and 0 or 1)
  end
  return kept, dropped
end

--- One line of JSON in a fixed order of fields, or "" for an empty theme.
function _M.encode(theme)
  local parts = {}
  for _, names in ipairs({ COLOURS, LOGOS }) do
    for _, name in ipairs(names) do
      if theme[name] then
        parts[#parts + 1] = string.format("\"%s\":\"%s\"", name, theme[name])
      end
    end
  end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
end

return _M
