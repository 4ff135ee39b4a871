-- Returns an unacknowledged message to the head of its queue, behind older messages there. One round trip, O(older messages).
-- KEYS  1 unacknowledged messages  2 their delivery times  3 the queue
-- ARGV  1 delivery tag  2 the message  3 its time of publication in us  4 maximum number of messages it may be put behind
-- Returns 1, or 0 if the message is not unacknowledged any more
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
local before = {}
while #before < tonumber(ARGV[4]) do
  local head = redis.call('LINDEX', KEYS[3], -1)
  local published = head and tonumber(head:match('"published": *(%d+)'))
  if not published or published >= tonumber(ARGV[3]) then break end
  before[#before + 1] = redis.call('RPOP', KEYS[3])
end
redis.call('RPUSH', KEYS[3], ARGV[2])
for index = #before, 1, -1 do redis.call('RPUSH', KEYS[3], before[index]) end
return 1
