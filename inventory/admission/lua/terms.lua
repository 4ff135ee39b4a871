-- Part of a script: under which terms an item is sold, and the tokens that pin them.
-- A customer's tokens of an item are a hash: token -> "expiry in us, version of the terms or 0, price, currency".

-- The present terms; their version is nil when the gate was changed last by somebody who does not number terms.
-- In meta, 'terms' is "version of the gate, version of the terms".
local function present_terms(key)
  local meta = redis.call('HMGET', key, 'price', 'currency', 'terms', 'version')
  local of, number = (meta[3] or ''):match('^(%d+) (%d+)$')
  return {version = of == meta[4] and number or nil, price = meta[1], currency = meta[2]}
end

-- What an order under this token costs: version (nil if unknown), price, currency; the present terms where none are pinned.
local function terms_of(tokens, token, present)
  local pinned = redis.call('HGET', tokens, token)
  if not pinned then return present.version, present.price, present.currency end
  local version, price, currency = pinned:match('^%d+ (%d+) (%S+) (%S+)')
  if version == '0' then version = nil end
  return version, price, currency
end

-- Microseconds until the customer may have one token more, 0 for at once. Looks at their tokens only when they have the most.
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

-- The hash lasts as long as the last of its tokens, a second more for the rounding.
local function pin(tokens, token, ttl, now, present)
  local expiry = string.format('%.0f', now + ttl * 1000000)
  redis.call('HSET', tokens, token, expiry .. ' ' .. (present.version or '0') .. ' ' .. present.price .. ' ' .. present.currency)
  if redis.call('TTL', tokens) <= tonumber(ttl) then redis.call('EXPIRE', tokens, ttl + 1) end
end

-- A decimal number without trailing zeros, so that equal numbers are equal texts.
local function plain(number)
  if not number:find('.', 1, true) then return number end
  return (number:gsub('0+$', ''):gsub('%.$', ''))
end
