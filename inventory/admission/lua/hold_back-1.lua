-- Records which items wait for the dispatcher's pace, in the order they were last served. One round trip, O(items x log(held back)).
-- KEYS  1 held back
-- ARGV  pairs of item and result: 'served' (more orders wait), 'refused' or 'done'
-- A refused item keeps its place. The key expires after a minute; an item that is not in it is only served last.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 1, #ARGV, 2 do
  local place = string.format('%.0f', now + i)
  if ARGV[i + 1] == 'done' then
    redis.call('ZREM', KEYS[1], ARGV[i])
  elseif ARGV[i + 1] == 'served' then
    redis.call('ZADD', KEYS[1], place, ARGV[i])
  else
    redis.call('ZADD', KEYS[1], 'NX', place, ARGV[i])
  end
end
redis.call('EXPIRE', KEYS[1], 60)
