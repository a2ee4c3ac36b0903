/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes many TCP flows towards a VIP by raw frames, as clients that never listen to the answer.
 * Usage: flows DEVICE DESTINATION_MAC VIP PORT MODE FIRST COUNT RATE
 *   MODE   syn: one SYN a flow; open: SYN, then ACK, so that a table that sees this direction calls it established;
 *          ack: only the ACK
 *   FIRST  number of the first flow: flow n is of 11.0.0.0 + n / 50,000, port 10,000 + n % 50,000
 *   RATE   packets a second, about
 * Prints how many packets were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, FRAME = sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr) };

static unsigned fold(unsigned long sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

static unsigned long add(const void* p, size_t n) {
  const unsigned char* b = p;
  unsigned long sum = 0;
  for (size_t i = 0; i < n; i += 2) sum += (unsigned)b[i] << 8 | b[i + 1];
  return sum;
}

static void build(unsigned char* frame, const unsigned char* mac, unsigned vip, unsigned port, unsigned long n,
                  int ack) {
  struct ethhdr* eth = (void*)frame;
  struct iphdr* ip = (void*)(frame + sizeof(*eth));
  struct tcphdr* tcp = (void*)(ip + 1);
  memset(frame, 0, FRAME);
  memcpy(eth->h_dest, mac, 6);
  memcpy(eth->h_source, "\x02\x11\x11\x11\x11\x11", 6);
  eth->h_proto = htons(ETH_P_IP);
  ip->version = 4;
  ip->ihl = 5;
  ip->tot_len = htons(sizeof(*ip) + sizeof(*tcp));
  ip->ttl = 64;
  ip->protocol = IPPROTO_TCP;
  ip->saddr = htonl(0x0b000000u + (unsigned)(n / 50000));
  ip->daddr = vip;
  ip->check = htons((unsigned short)fold(add(ip, sizeof(*ip))));
  tcp->source = htons((unsigned short)(10000 + n % 50000));
  tcp->dest = htons((unsigned short)port);
  tcp->seq = htonl((unsigned)n * 2654435761u + (ack ? 1 : 0));
  tcp->ack_seq = ack ? htonl(1) : 0;
  tcp->doff = 5;
  tcp->syn = !ack;
  tcp->ack = (unsigned)ack & 1;
  tcp->window = htons(64240);
  tcp->check = htons((unsigned short)fold(add(tcp, sizeof(*tcp)) + add(&ip->saddr, 8) + IPPROTO_TCP + sizeof(*tcp)));
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  unsigned char mac[6], frames[BATCH][FRAME];
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6};
  if (argc != 9 ||
      sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
    fprintf(stderr, "flows: expected DEVICE MAC VIP PORT syn|open|ack FIRST COUNT RATE\n");
    return 2;
  }
  unsigned vip = inet_addr(argv[3]), port = (unsigned)atoi(argv[4]);
  int both = !strcmp(argv[5], "open"), ack = !strcmp(argv[5], "ack");
  unsigned long first = strtoul(argv[6], 0, 0), count = strtoul(argv[7], 0, 0), sent = 0;
  double rate = atof(argv[8]), began = now();
  unsigned long total = both ? count * 2 : count;
  int s = socket(AF_PACKET, SOCK_RAW, 0);
  to.sll_ifindex = (int)if_nametoindex(argv[1]);
  memcpy(to.sll_addr, mac, 6);
  if (s < 0 || !to.sll_ifindex) return perror("flows"), 1;
  while (sent < total) {
    unsigned k = 0;
    for (; k < BATCH && sent + k < total; k++) {
      /* open: 32 SYNs, then the 32 ACKs of the same flows, so that they do not overtake. */
      unsigned long i = sent + k, block = i / 64, within = i % 64;
      unsigned long n = both ? block * 32 + within % 32 : i;
      if (both && n >= count) n = count - 1;
      build(frames[k], mac, vip, port, first + n, both ? within >= 32 : ack);
      parts[k] = (struct iovec){frames[k], FRAME};
      messages[k] = (struct mmsghdr){.msg_hdr = {&to, sizeof(to), &parts[k], 1, 0, 0, 0}};
    }
    int done = sendmmsg(s, messages, k, 0);
    if (done > 0) sent += (unsigned)done;
    double ahead = (double)sent / rate - (now() - began);
    if (ahead > 0.0005 || done <= 0) usleep(ahead > 0.0005 ? (useconds_t)(ahead * 1e6) : 100);
  }
  printf("%lu\n", sent);
  return 0;
}
