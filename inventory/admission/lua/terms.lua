-- Part of a script: the terms of an item, and the purchase tokens that fix them.
-- A customer's tokens of an item are a hash: token -> "expiry in us, version of the terms or 0, price, currency".

-- The current terms. Their version is nil if a release without terms versions changed the gate last.
-- In meta, 'terms' is "version of the gate, version of the terms".
local function present_terms(key)
  local meta = redis.call('HMGET', key, 'price', 'currency', 'terms', 'version')
  local of, number = (meta[3] or ''):match('^(%d+) (%d+)$')
  return {version = of == meta[4] and number or nil, price = meta[1], currency = meta[2]}
end

-- The terms of an order with this token: version (nil if unknown), price, currency. The current terms if the token fixes none.
local function terms_of(tokens, token, present)
  local pinned = redis.call('HGET', tokens, token)
  if not pinned then return present.version, present.price, present.currency end
  local version, price, currency = pinned:match('^%d+ (%d+) (%S+) (%S+)')
  if version == '0' then version = nil end
  return version, price, currency
end

-- Microseconds until the customer may get another token, 0 for now. Reads the tokens only if the customer is at the limit.
local function wait_for_place(tokens, most, now)
  if redis.call('HLEN', tokens) < most then return 0 end
  local all, live, first = redis.call('HGETALL', tokens), 0, nil
  for i = 1, #all, 2 do
    local expiry = tonumber(all[i + 1]:match('^%d+'))
    if expiry <= now then
      redis.call('HDEL', tokens, all[i])
    else
      live, first = live + 1, math.min(first or expiry, expiry)
    end
  end
  return live < most and 0 or first - now
end

-- The hash expires with its last token, plus a second for rounding.
local function pin(tokens, token, ttl, now, present)
  local expiry = string.format('%.0f', now + ttl * 1000000)
  redis.call('HSET', tokens, token, expiry .. ' ' .. (present.version or '0') .. ' ' .. present.price .. ' ' .. present.currency)
  if redis.call('TTL', tokens) <= tonumber(ttl) then redis.call('EXPIRE', tokens, ttl + 1) end
end

-- A decimal number without trailing zeros, so that equal numbers are equal strings.
local function plain(number)
  if not number:find('.', 1, true) then return number end
  return (number:gsub('0+$', ''):gsub('%.$', ''))
end
