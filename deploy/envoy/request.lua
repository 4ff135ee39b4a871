-- Sets headers for the shop and the routes. Values from the client are removed, so no client can choose its fleet or its time.
-- x-canary-bucket: 0 to 99, constant per customer. The routes send the lowest buckets to the canary.
-- x-request-start: when the request was received completely, so the shop knows how long it has waited.
-- x-envoy-*: headers between gateways. They are removed from clients' requests.
-- The customer is identified by the credential that the shop would use (the shop verifies it): the access token, else the session
-- cookie, else the address. Malformed credentials are ignored.
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

-- The session, and the cookies for the shop, as one header. It contains a session cookie only if there is exactly one, in the form
-- that the shop issues. Otherwise the shop might use another session than this script, so it gets none.
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
