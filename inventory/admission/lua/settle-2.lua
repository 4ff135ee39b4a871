-- Turns holds into sales. Only the call that deletes the hold counts it. One round trip, O(orders). May run twice.
-- KEYS  1 meta  2 held
-- ARGV  order ids
-- Returns 0 DONE, 1 GATE_MISSING, 2 REBUILDING
if redis.call('HEXISTS', KEYS[1], 'allocated') == 0 then return 1 end
if redis.call('HEXISTS', KEYS[1], 'rebuilding') == 1 then return 2 end
local sold = 0
for _, order in ipairs(ARGV) do
  local hold = redis.call('HGET', KEYS[2], order)
  if hold then
    redis.call('HDEL', KEYS[2], order)
    sold = sold + tonumber(hold:match('^%d+:(%d+)'))
  end
end
if sold > 0 then redis.call('HINCRBY', KEYS[1], 'sold', sold) end
return 0
