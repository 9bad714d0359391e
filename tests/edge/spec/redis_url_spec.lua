--- The vectors that nginx/configure shares, against lua/edge/redis_url.lua; and what becomes of the good ones.
package.path = "lua/?.lua;" .. package.path
local cjson = require("cjson")

rawset(_G, "ngx", {
  unescape_uri = function(text)
    return (
      text:gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
      end)
    )
  end,
})
local parse = require("edge.redis_url").parse

local file = assert(io.open("tests/data/redis_urls.json"))
local vectors = cjson.decode(file:read("*a"))
file:close()

describe("a Redis URL", function()
  for _, url in ipairs(vectors.good) do
    it("is taken: " .. url, function()
      assert.is_table((parse(url)))
    end)
  end
  for _, url in ipairs(vectors.bad) do
    it("is refused: " .. url, function()
      local target, err = parse(url)
      assert.is_nil(target)
      assert.matches("^must be", err)
    end)
  end

  it("keeps user, password, database and the name that a certificate must have", function()
    local target = parse("rediss://edge:s%3Acret%40@localhost:6380/3")
    local said = { target.user, target.password, target.database, target.name, target.host }
    assert.same({ "edge", "s:cret@", 3, "localhost", "127.0.0.1" }, said)
    assert.is_true(target.tls)
  end)

  it("keeps IPv6 in the brackets that a cosocket wants", function()
    assert.equal("[2001:db8::7]", parse("redis://[2001:db8::7]/1").host)
    local sentinels = parse("redis+sentinel://[::1]:26380/edge").sentinels
    assert.same({ host = "[::1]", port = 26380, name = "[::1]" }, sentinels[1])
  end)
end)
