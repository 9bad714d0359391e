--- The vectors that Lua, Flask and Django share, against lua/edge/hostname.lua.
package.path = "lua/?.lua;" .. package.path
local cjson = require("cjson")
local hostname = require("edge.hostname")

local file = assert(io.open("tests/data/hostnames.json"))
local vectors = cjson.decode(file:read("*a"))
file:close()

describe("the edge's hostnames", function()
  for _, vector in ipairs(vectors.edge) do
    it(vector.kind .. " " .. vector.input, function()
      local normalise = vector.kind == "sni" and hostname.normalise or hostname.normalise_host
      local expected = vector.canonical ~= cjson.null and vector.canonical or false
      assert.equal(expected, normalise(vector.input))
    end)
  end

  -- Which A-labels are valid, and which names are reserved, needs tables: the control plane refuses those, so that
  -- they are never in the index; at the edge they are names like any other unknown one.
  local function needs_tables(message)
    return message:find("internationalized label") or message:find("reserved")
  end

  for _, vector in ipairs(vectors.hostnames) do
    local message = vector.error ~= cjson.null and vector.error or ""
    if not needs_tables(message) then
      it((message == "" and "allows " or "refuses ") .. vector.input, function()
        assert.equal(vector.canonical ~= cjson.null, hostname.is_canonical(vector.input))
      end)
    end
  end
end)
