-- What the shop and the routes are told of a request, whatever the client said: nobody chooses a side, or a time.
-- x-canary-bucket: 0 to 99, for a customer always the same; the routes send the lowest ones to the canary.
-- x-request-start: when the request was here as a whole, so the shop knows how long it has waited for its turn.
-- x-envoy-*: words between gateways; none of them comes from a client.
-- The customer is who the credential names that the shop would go by (whether it is genuine is for the shop to say): the access
-- token, else the session's cookie, else the address. What only resembles one of them decides nothing.
local bit = require("bit")
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local LONGEST = 2048
local six_bits = {}
for i = 1, #alphabet do six_bits[alphabet:byte(i)] = i - 1 end

local function decoded(text)
  local out, held, count = {}, 0, 0
  for i = 1, #text do
    held = bit.bor(bit.lshift(bit.band(held, 0xff), 6), six_bits[text:byte(i)])
    count = count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = string.char(bit.band(bit.rshift(held, count), 0xff))
    end
  end
  return table.concat(out)
end

local function named(claims, field)
  return #claims <= LONGEST and decoded(claims):match('"' .. field .. '":%s*"?(%d+)')
end

-- The session, and the cookies that the shop gets: one header, and of cookies that it might take for a session only one in the
-- form in which it gives them. Of two, or of one written otherwise, it might believe another than we do: it gets none.
local function session_of(headers)
  local rest, found, odd = {}, nil, false
  for at = 0, headers:getNumValues("cookie") - 1 do
    for part in (headers:getAtIndex("cookie", at) .. ";"):gmatch("([^;]*);") do
      local cookie = part:match("^%s*(.-)%s*$")
      if not cookie:find("sessionid", 1, true) then
        if cookie ~= "" then rest[#rest + 1] = cookie end
      else
        local value = cookie:match("^sessionid=([%w_:.-]+)$")
        odd = odd or not value or found ~= nil
        found = found or value
      end
    end
  end
  if odd then found = nil end
  if found then rest[#rest + 1] = "sessionid=" .. found end
  return found, table.concat(rest, "; ")
end

local function customer(handle)
  local headers = handle:headers()
  local session
  if headers:get("cookie") then
    local cookies
    session, cookies = session_of(headers)
    if cookies == "" then headers:remove("cookie") else headers:replace("cookie", cookies) end
  end
  local claims = headers:getNumValues("authorization") == 1
    and headers:get("authorization"):match("^Bearer%s+[%w_-]+%.([%w_-]+)%.[%w_-]+$")
  local id = claims and named(claims, "user_id")
  if not id and session then id = named(session:match("^[%w_-]*"), "_auth_user_id") end
  if id then return "customer " .. id end
  if session then return "session " .. session end
  return "address " .. handle:streamInfo():downstreamRemoteAddress():gsub(":%d+$", "")
end

local function forget_words_between_gateways(headers)
  local names = {}
  for name in pairs(headers) do
    if name:sub(1, 8) == "x-envoy-" then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do headers:remove(name) end
end

-- FNV-1a, 32 bits (draft-eastlake-fnv), folded once so that the low digits depend on all bits.
local function hashed(text)
  local hash = bit.tobit(2166136261)
  for i = 1, #text do
    hash = bit.bxor(hash, text:byte(i))
    hash = bit.tobit(hash + bit.lshift(hash, 1) + bit.lshift(hash, 4) + bit.lshift(hash, 7) + bit.lshift(hash, 8)
      + bit.lshift(hash, 24))
  end
  return bit.bxor(hash, bit.rshift(hash, 15)) % 4294967296
end

function envoy_on_request(handle)
  local headers = handle:headers()
  forget_words_between_gateways(headers)
  headers:replace("x-canary-bucket", tostring(hashed(customer(handle)) % 100))
  headers:replace("x-request-start", string.format("t=%.3f", handle:timestamp() / 1000))
end
