--- The few bytes of HTML and SVG that the edge adds or writes itself; pure functions of name and theme.
local _M = {}

local DEFAULT_PRIMARY = "#046BF8"
local ENTITIES = {
  ["&"] = "&amp;",
  ["<"] = "&lt;",
  [">"] = "&gt;",
  ["\""] = "&quot;",
  ["'"] = "&#39;",
}

--- Text that is safe inside HTML and SVG.
local function escape(text)
  return (text:gsub("[&<>\"']", ENTITIES))
end

--- Modoboa's router leaves a plugin's page on reload, since plugins register their routes after its catch-all
--- has led to the dashboard. Where the router says that it was the catch-all that led away from the wanted path,
--- and that path has a route by now, go there: before the dashboard is shown, or from it when this page was too
--- busy to ask in time.
local DEEP_LINKS = [[<script id="edge-deep-links">(function () {
  var wanted = location.pathname + location.search + location.hash, router, tries = 0, gone = false;
  function caught(route) {
    return !route.matched.length || /:\w+\(\.\*\)/.test(route.matched.slice(-1)[0].path);
  }
  function lost(to) {
    var from = to.redirectedFrom;
    return from && caught(from) && !caught(router.resolve(wanted));
  }
  function led(to) {
    if (!gone && lost(to)) return (gone = true) && wanted;
  }
  var timer = setInterval(function () {
    var app = (document.getElementById("app") || {}).__vue_app__;
    if (++tries > 1200) clearInterval(timer);
    if (!router) {
      router = app && app.config.globalProperties.$router;
      if (!router) return;
      router.beforeResolve(led);
    }
    var here = router.currentRoute.value;
    if (!here.matched.length) return;
    clearInterval(timer);
    if (!gone && lost(here)) router.replace(wanted);
  }, 50);
})()</script>]]

local function first_paint(theme)
  local colour = theme.theme_primary_color
  if not colour then
    return ""
  end
  local names = {
    { "primary", colour },
    { "primary-lighten-1", theme.theme_primary_color_light or colour },
    { "primary-darken-1", theme.theme_primary_color_dark or colour },
    { "secondary", theme.theme_secondary_color },
  }
  local parts = {}
  for _, name in ipairs(names) do
    if name[2] then
      local r, g, b = name[2]:match("^#(%x%x)(%x%x)(%x%x)$")
      local numbers = table.concat({ tonumber(r, 16), tonumber(g, 16), tonumber(b, 16) }, ",")
      parts[#parts + 1] = "--v-theme-" .. name[1] .. ":" .. numbers .. " !important"
    end
  end
  return "<meta name=\"theme-color\" content=\""
    .. colour
    .. "\"><style id=\"edge-first-paint\">:root,.v-theme--light{"
    .. table.concat(parts, ";")
    .. "}</style>"
end

local function before_head_ends(html, addition)
  local position = html:find("</head>", 1, true)
  if not position then
    return html
  end
  return html:sub(1, position - 1) .. addition .. html:sub(position)
end

--- Modoboa's page with nothing but working deep links.
function _M.with_deep_links(html)
  return before_head_ends(html, DEEP_LINKS)
end

--- Modoboa's page with the tenant's title, favicon and colours before any script runs.
function _M.branded(html, title, theme)
  local page = html:gsub("<title>.-</title>", function()
    return "<title>" .. escape(title) .. "</title>"
  end, 1)
  return before_head_ends(page, first_paint(theme) .. DEEP_LINKS)
end

local ICON = [[<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="{colour}"/><text x="16" y="23" text-anchor="middle"
font-family="sans-serif" font-size="20" fill="#fff">{letter}</text></svg>]]

local DOWN = [[<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width"><style>
body{font-family:sans-serif;text-align:center;margin:15vh 1em;color:#333}h1{color:{colour}}
img{max-height:80px;max-width:80%}</style></head><body>{logo}<h1>{name}</h1>
<p>The mail service is being worked on. Please try again in a moment.</p></body></html>]]

local function fill(template, values)
  return (template:gsub("{(%l+)}", values))
end

--- An SVG icon: the first letter of the name on the colour.
function _M.favicon(name, colour)
  return fill(ICON, { letter = escape(name:sub(1, 1):upper()), colour = colour })
end

--- The page for 502 and 504.
function _M.down(name, theme)
  local logo = theme.theme_login_logo_url
  return fill(DOWN, {
    name = escape(name),
    colour = theme.theme_primary_color or DEFAULT_PRIMARY,
    logo = logo and ("<img alt=\"\" src=\"" .. logo .. "\">") or "",
  })
end

return _M
